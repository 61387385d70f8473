# SPDX-License-Identifier: Apache-2.0
"""The process that keeps a bench's hosts: starts each, starts it again when it reboots, and takes all away at the end.

`python -m bench.rack FOLDER tied|kept`. Tied: the bench ends with whoever holds the other end of standard input.
A file `power` in a host's folder says `on` or `off`; the rack follows it.
"""

import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from bench import groups, nspawn
from bench.leftovers import clean
from bench.network import inside
from bench.plan import BenchPlan, HostPlan, me, write_json
from chaosgpu.agent.process import identity

__all__ = ["main"]

_LOOK_EVERY_S = 0.05
_TERMINATED = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


class Rack:
    """The hosts of one bench and the nspawn of each that runs."""

    def __init__(self, plan: BenchPlan) -> None:
        self._plan = plan
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._boots = dict.fromkeys((host.name for host in plan.hosts), 0)

    def follow(self) -> None:
        """Look at every host once."""
        for host in self._plan.hosts:
            machine = self._running.get(host.name)
            if machine is not None and machine.poll() is not None:
                del self._running[host.name]
                groups.end(nspawn.group(self._plan, host))  # a killed nspawn leaves its host running
                if machine.returncode != nspawn.REBOOT:
                    host.path("power").write_text("off")
                host.path("running.json").unlink(missing_ok=True)  # last: whoever waits for this may turn it on again
                machine = None
            if machine is None and host.path("power").read_text() == "on":
                self._start(host)

    def _start(self, host: HostPlan) -> None:
        name = nspawn.group(self._plan, host)
        groups.make(name)
        with host.path("console.log").open("ab") as console:
            machine = subprocess.Popen(
                nspawn.command(self._plan, host),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=nspawn.ENVIRONMENT,
                start_new_session=True,
                preexec_fn=groups.enter(name),  # noqa: PLW1509 (the rack has one thread)
            )
        self._running[host.name] = machine
        self._boots[host.name] += 1
        who = identity(machine.pid)
        if who is not None:
            write_json(host.path("running.json"), {**asdict(who), "boots": self._boots[host.name]})


def main(directory: str, how: str) -> int:
    """Keep the hosts until a signal, or until the owner is gone."""
    plan = BenchPlan.read(Path(directory))
    if plan is None:
        return 2
    waking, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    for number in _TERMINATED:
        signal.signal(number, lambda *_: None)
    write_json(plan.rack_record, asdict(me()))
    watched = [waking, *([0] if how == "tied" else [])]
    rack = Rack(plan)
    try:
        with inside(plan):
            while not select.select(watched, [], [], _LOOK_EVERY_S)[0]:
                rack.follow()
    finally:
        clean(plan)
        plan.rack_record.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
