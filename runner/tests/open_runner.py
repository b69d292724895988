"""A real runner whose agents are confined by nothing, so that its own duties can be tested apart."""

import os
import sys
from dataclasses import replace

from oqto_platform import ConfinedPlan, hookimpl


class PassThrough:
    """Answers `confine` with the plan itself."""

    @hookimpl
    def confine(self, session, plan):
        return ConfinedPlan(argv=plan.argv, cwd=plan.cwd, env=plan.env, confined_by="nothing", profile="test")


if __name__ == "__main__":
    from oqto_runner import __main__ as command
    from oqto_runner import daemon

    load = daemon._load_plugins
    daemon._load_plugins = lambda options: load(
        replace(options, plugins={"pass_through": PassThrough()}, only=("pass_through",))
    )
    if os.environ.get("OQTO_TEST_NO_CGROUP"):
        from oqto_runner import cgroup

        cgroup.writable_base = lambda: None
    sys.exit(command.main())
