"""The order in which a sandbox comes to life."""

from __future__ import annotations

import posix
import select
import sys

from oqto_plugin_sandbox.init.agent import start
from oqto_plugin_sandbox.init.check import check_mounts, check_process
from oqto_plugin_sandbox.init.kernel import Kernel, fail
from oqto_plugin_sandbox.init.supervise import Supervisor, watch_signals

# Annotations are never evaluated, so the module `typing` is not needed while this runs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PR_SET_DUMPABLE = 4


def enter_groups(fds: list[int]) -> None:
    """Join the control groups that were made for this session, through descriptors opened outside."""
    for fd in fds:
        try:
            posix.write(fd, b"0")
        except OSError as exc:
            fail("cannot enter the control group: " + str(exc))
        posix.close(fd)


def main(config: dict[str, Any]) -> None:
    """Never returns. `config` is what `launch.py` wrote."""
    config["argv"] = sys.argv[2:]
    kernel = Kernel()
    enter_groups(config["groups"])
    check_mounts(config["mounts"])
    check_process(config["status"])
    kernel.prctl(PR_SET_DUMPABLE, 0)
    poll = select.epoll()
    wakeup = watch_signals(poll)
    forwarder = None
    if config["relays"]:
        from oqto_plugin_sandbox.init.forward import Forwarder

        forwarder = Forwarder(poll, config["relays"])
    supervisor = Supervisor(config, poll, wakeup)
    supervisor.run(start(config, kernel), forwarder)
