"""
Every action that is audited, as a type: what the line says besides who, when and through which door.

A field that a class adds goes into the record's `fields`. Plugins write records of their own through
`Context.audit`; theirs are named `<plugin>.<event>`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

Outcome = Literal["ok", "refused", "failed"]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Base. `actor` is filled from the request where it is empty; `session` is the id of a session."""

    name: ClassVar[str] = ""

    actor: str = ""
    target: str = ""
    session: str = ""
    outcome: Outcome = "ok"


COLUMNS = Action.__struct_fields__


class ServerStarted(Action, frozen=True):
    """A worker of the server came up."""

    name = "server.started"
    version: str
    pid: int


class SignedIn(Action, frozen=True):
    """Somebody signed in, or tried to. The name of an attempt is kept only where there is such an account."""

    name = "sign-in"
    address: str


class SignedOut(Action, frozen=True):
    """A sign-in was ended by its owner."""

    name = "sign-out"


class SignedOutEverywhere(Action, frozen=True):
    """All sign-ins of an account were ended."""

    name = "sign-out.everywhere"


class AccessRefused(Action, frozen=True):
    """Somebody who is signed in asked for what only an admin may have."""

    name = "access.refused"


class AccountCreated(Action, frozen=True):
    """An account was made; `target` is its id."""

    name = "account.created"
    how: str
    address: str = ""


class PasswordChanged(Action, frozen=True):
    """An account got a new password, or somebody who did not know the present one tried to set one."""

    name = "account.password_changed"


class WorkspaceCreated(Action, frozen=True):
    """A folder was made; `target` is its path."""

    name = "workspace.created"
    template: str = ""


class SessionStarted(Action, frozen=True):
    """An agent was started, or was asked for and did not start (`outcome`, `reason`)."""

    name = "session.started"
    workspace: str = ""
    harness: str = ""
    provider: str = ""
    model: str = ""
    confined_by: str = ""
    reason: str = ""


class SessionResumed(Action, frozen=True):
    """The agent of a session that was over was started again."""

    name = "session.resumed"
    reason: str = ""


class SessionRenamed(Action, frozen=True):
    """A session got a new title, which is not kept here: it is content."""

    name = "session.renamed"


class SessionStopped(Action, frozen=True):
    """Somebody asked for the end of an agent."""

    name = "session.stopped"


class SessionEnded(Action, frozen=True):
    """An agent is gone, whatever the reason."""

    name = "session.ended"
    reason: str
    detail: str = ""


class SessionDeleted(Action, frozen=True):
    """A session was removed with its conversation."""

    name = "session.deleted"


class SessionCommanded(Action, frozen=True):
    """Somebody told an agent something. The words themselves are not kept here."""

    name = "session.commanded"
    command: str


class QuestionAnswered(Action, frozen=True):
    """A person approved, declined or answered what an agent asked."""

    name = "session.answered"
    question: str
    answer: str


class ConfigChanged(Action, frozen=True):
    """Another configuration holds; `keys` are `section.key`, `pending` wait for the next start."""

    name = "config.changed"
    keys: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    reason: str = ""


class ConfigRefused(Action, frozen=True):
    """A file was not taken; what held before holds on."""

    name = "config.refused"
    reason: str


class PluginSwitched(Action, frozen=True):
    """A plugin will not be loaded any more, or will be again, from the next start on; `target` is its name."""

    name = "plugin.switched"
    state: Literal["on", "off"]


class PluginReset(Action, frozen=True):
    """Somebody had a plugin called again that was switched off because it kept failing."""

    name = "plugin.reset"
    hooks: tuple[str, ...]


class AuditExported(Action, frozen=True):
    """Somebody took records out of the audit log over HTTP."""

    name = "audit.exported"
    format: str
    filter: dict[str, Any] = {}


class AuditRepaired(Action, frozen=True):
    """The end of a line that was never finished (the writer was killed) was cut off."""

    name = "audit.repaired"
    torn_bytes: int


class AuditUnsealed(Action, frozen=True):
    """The seal was missing or unreadable: whether records before this one are missing cannot be told."""

    name = "audit.unsealed"


class AuditBroken(Action, frozen=True):
    """The file did not end with the last sealed record. The chain goes on from the seal, so the gap stays."""

    name = "audit.broken"
    sealed: int
    found: int


class AuditMoved(Action, frozen=True):
    """The last record in its file: `logging.audit_file` names another one, where the chain goes on."""

    name = "audit.moved"
    to: str


class AuditContinued(Action, frozen=True):
    """The first record in its file: the chain comes from the file `source`."""

    name = "audit.continued"
    source: str


def kinds() -> dict[str, type[Action]]:
    """Every action of the core by its name."""
    return {kind.name: kind for kind in Action.__subclasses__()}


def split(event: Action) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of a record, and the fields; what is empty is left out."""
    values = {
        key: value for key, value in msgspec.to_builtins(event).items() if value not in ("", [], {}, None)
    }
    return (
        {key: value for key, value in values.items() if key in COLUMNS},
        {key: value for key, value in values.items() if key not in COLUMNS},
    )
