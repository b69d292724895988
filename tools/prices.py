"""Make the price table of the LLM proxy anew from the locked `genai-prices`, for a person to review.

The package never enters the environment that Oqto runs in. Newer prices: `make lock ARGS=--upgrade` first.
"""

from __future__ import annotations

import sys

from setup_steps import shell
from setup_steps.place import PYTHON, REQUIREMENTS, ROOT, TOOLS, environment
from setup_steps.python import install_apart
from setup_steps.stamps import Stamp

SOURCE = TOOLS / "prices"
LOCK = REQUIREMENTS / "prices.txt"
PROGRAM = ROOT / "plugins" / "eavs" / "tools" / "make_prices.py"
STAMP = Stamp(
    SOURCE / ".stamp",
    inputs=lambda: [LOCK],
    outputs=lambda: [SOURCE / "genai_prices"],
)


def main() -> int:
    try:
        install_apart(STAMP, SOURCE, LOCK)
        repair = f"see what {PROGRAM.relative_to(ROOT)} reports"
        shell.run([PYTHON, PROGRAM], repair=repair, env=environment(PYTHONPATH=str(SOURCE)))
    except shell.StepFailed as failure:
        print(f"prices: {failure}")
        return 1
    print("prices: the table is made; review it with: git diff plugins/eavs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
