"""A real runner whose agents are confined by nothing, so that its own duties can be tested apart."""

import os
import signal
import sys
from dataclasses import replace

from oqto_platform import ConfinedPlan, canon, hookimpl


class PassThrough:
    """Answers `confine` with the plan itself."""

    @hookimpl
    def confine(self, session, plan):
        return ConfinedPlan(argv=plan.argv, cwd=plan.cwd, env=plan.env, confined_by="nothing", profile="test")


class Gossip:
    """Tells the log of a session what it hears of it."""

    @hookimpl
    def startup(self, context):
        self.context = context

    def _tell(self, session, message):
        return self.context.tell(session.id, canon.Notify(message=message))

    @hookimpl
    def tool_ended(self, session, call):
        self._tell(session, f"{call.name} {call.input} gave {call.output}")

    @hookimpl
    def agent_gone(self, session, outcome):
        self._tell(session, f"gone: {outcome.detail}")

    @hookimpl
    def session_stopped(self, session):
        assert not self._tell(session, "too late")


if __name__ == "__main__":
    from oqto_runner import __main__ as command
    from oqto_runner import daemon

    PLUGINS = {"pass_through": PassThrough(), **({"gossip": Gossip()} if os.environ.get("GOSSIP") else {})}
    load = daemon._load_plugins
    daemon._load_plugins = lambda options: load(replace(options, plugins=PLUGINS, only=tuple(PLUGINS)))
    if os.environ.get("OQTO_TEST_NO_CGROUP"):
        from oqto_runner import cgroup

        cgroup.writable_base = lambda: None
    if os.environ.get("OQTO_TEST_DIE_AFTER_EXEC"):
        from oqto_runner import process

        process.footprint = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(command.main())
