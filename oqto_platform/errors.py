"""
Every way Oqto says no: a class with a code, an HTTP status and a sentence that names the repair.

The same `Problem` travels in HTTP bodies (RFC 9457), in mux frames, in the runner's replies and to
`oqtoctl`. Raise at the cause, translate at the edge, never log *and* raise.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 9457 body. `error` repeats the sentence for clients that only look there."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    error: str = ""
    instance: str = ""
    extra: dict[str, Any] = {}


class OqtoError(Exception):
    """Base of all errors a person may read. `extra` holds JSON-able facts for programs."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra

    def to_problem(self, instance: str = "") -> Problem:
        """The wire form; `instance` is the request id that also stands in the log."""
        return Problem(
            type=f"urn:oqto:error:{self.code}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            code=self.code,
            error=self.detail,
            instance=instance,
            extra=self.extra,
        )


class NotFound(OqtoError):
    """The thing does not exist, or not for this account."""

    code, status, title = "not-found", 404, "Not found"


class Conflict(OqtoError):
    """The state of the thing does not allow the action."""

    code, status, title = "conflict", 409, "Conflict"


class Invalid(OqtoError):
    """The request, its path or one of its fields is wrong; the sentence names it."""

    code, status, title = "invalid", 422, "Invalid request"


class Malformed(OqtoError):
    """The request is not what HTTP or JSON ask for."""

    code, status, title = "malformed", 400, "Malformed request"


class MethodNotAllowed(OqtoError):
    """The path exists, but not with this method."""

    code, status, title = "method-not-allowed", 405, "Method not allowed"


class TooLarge(OqtoError):
    """The body is larger than `server.max_upload_size_mb`."""

    code, status, title = "too-large", 413, "Too large"


class NotSignedIn(OqtoError):
    """No credential, or one that does not hold any more."""

    code, status, title = "not-signed-in", 401, "Not signed in"


class Forbidden(OqtoError):
    """Signed in, but not allowed."""

    code, status, title = "forbidden", 403, "Forbidden"


class Refusal(OqtoError):
    """A plugin says no, for a reason the person may read. Passes through every hook mode but NOTIFY."""

    code, status, title = "refused", 403, "Refused"


class BudgetExceeded(OqtoError):
    """The money set aside is used up."""

    code, status, title = "budget-exceeded", 402, "Budget exceeded"


class LimitReached(OqtoError):
    """Too many, or too often. `retry_after_s` in `extra` where waiting helps."""

    code, status, title = "limit-reached", 429, "Limit reached"


class RunnerUnavailable(OqtoError):
    """The account's runner does not answer."""

    code, status, title = "runner-unavailable", 503, "Runner unavailable"


class PluginFailed(OqtoError):
    """A plugin failed in a hook that may not fail."""

    code, status, title = "plugin-failed", 503, "Plugin failed"


class Unconfined(OqtoError):
    """Nothing confines the agent and the policy asks for it."""

    code, status, title = "unconfined", 503, "Sandbox unavailable"


class AgentFailed(OqtoError):
    """The agent could not be started, or answered that it cannot do this."""

    code, status, title = "agent-failed", 502, "Agent failed"


class DiskFull(OqtoError):
    """The event log cannot grow, so nothing more is shown."""

    code, status, title = "disk-full", 507, "Disk full"


class AuditUnwritable(OqtoError):
    """The audit log cannot be written, and what cannot be recorded is not done."""

    code, status, title = "audit-unwritable", 507, "Audit log cannot be written"


class Internal(OqtoError):
    """Anything else. The log has the cause under the same id; nothing leaks."""


class ConfigError(OqtoError):
    """A file, section or key of the configuration is wrong; stops the start."""

    code, status, title = "config-invalid", 500, "Configuration invalid"


class StartRefused(OqtoError):
    """A check of the start fails and `runtime.fail_fast` is set; names the check and its repair."""

    code, status, title = "start-refused", 503, "Start refused"


class PluginLoadError(OqtoError):
    """A plugin cannot be loaded; stops the start and names the command that disables it."""

    code, status, title = "plugin-load-failed", 500, "Plugin cannot be loaded"


def _tree(root: type[OqtoError]) -> dict[str, type[OqtoError]]:
    found: dict[str, type[OqtoError]] = {}
    for child in root.__subclasses__():
        found.update(_tree(child))
    # Last, so that a subclass which shares the code (`HookError`) is not what a peer's answer becomes.
    found[root.code] = root
    return found


def registry() -> dict[str, type[OqtoError]]:
    """Every code with its class; `docs/reference/errors.md` has a heading for each."""
    return {**_tree(OqtoError), "internal": Internal}


def from_problem(problem: Problem) -> OqtoError:
    """The error a peer sent, as the class it had there; unknown codes become `Internal`."""
    return registry().get(problem.code, Internal)(problem.detail, **problem.extra)
