"""Each error code with its status, title, class and meaning."""

from __future__ import annotations

import inspect

from generators.source import PACKAGES, import_all, table
from oqto_platform.canon import MODEL_FAILURES
from oqto_platform.errors import OqtoError


def blocks() -> dict[str, str]:
    """The failures of models, then one part per code, alphabetical."""
    import_all()
    codes = {f"error {code}": describe(code, kind) for code, kind in sorted(classes().items())}
    return {"model failures": model_failures(), **codes}


def model_failures() -> str:
    """What `code` of `agent.error` says when a model gave no answer."""
    return table(("`code`", "meaning"), [(f"`{code}`", words) for code, words in MODEL_FAILURES.items()])


def classes() -> dict[str, type[OqtoError]]:
    """Code to the class that introduced it; a subclass without a code of its own is left out."""
    found: dict[str, type[OqtoError]] = {}
    for kind in tree(OqtoError):
        if kind.__module__.partition(".")[0] in PACKAGES and kind is not OqtoError:
            found.setdefault(kind.code, kind)
    return found


def tree(root: type[OqtoError]) -> list[type[OqtoError]]:
    """`root` and all below it, parents first."""
    return [root, *(kind for child in root.__subclasses__() for kind in tree(child))]


def describe(code: str, kind: type[OqtoError]) -> str:
    row = (f"{kind.status}", kind.title, f"`{kind.__module__}.{kind.__name__}`")
    return f"### {code}\n\n{table(('status', 'title', 'class'), [row])}\n\n{inspect.getdoc(kind) or ''}"
