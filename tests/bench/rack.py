# SPDX-License-Identifier: Apache-2.0
"""The process that makes a bench, keeps its hosts, starts each again that reboots, and takes all away at the end.

`python -m bench.rack tied|kept LOCK`, with the plan as the first line of standard input. Whoever makes a bench holds
the other end: when he is gone, however early, all is taken away. A kept bench is his until he says `keep`.
LOCK is the descriptor of the lock on making and removing benches. It is held until all is made or gone, whoever dies.
A file `power` in a host's folder says `on` or `off`; the rack follows it.
"""

import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict

from bench import groups, nspawn
from bench.leftovers import clean, forget
from bench.making import make
from bench.network import inside
from bench.plan import BenchFailed, BenchPlan, HostPlan, me, write_json
from chaosgpu.agent.process import identity

__all__ = ["KEEP", "main"]

KEEP = b"keep\n"
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


class Tie:
    """Says when to end: at a signal, or when the owner is gone, unless he has said that it is to be kept."""

    def __init__(self, how: str) -> None:
        self._may_be_kept, self._tied = how == "kept", True
        self._waking, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        for number in _TERMINATED:
            signal.signal(number, lambda *_: None)
        self.owner_is_gone = False

    def ends(self, within_s: float = 0.0) -> bool:
        """Wait so long for the end; tell whether it has come."""
        watched = [self._waking, *([0] if self._tied else [])]
        ready = select.select(watched, [], [], within_s)[0]
        if 0 in ready:
            if self._may_be_kept and os.read(0, len(KEEP)) == KEEP:
                self._tied = False
                return False
            self.owner_is_gone = True
        return bool(ready)


def main(how: str, lock: int) -> int:
    """Make the hosts and keep them until a signal, or until the owner is gone."""
    os.set_inheritable(lock, False)  # noqa: FBT003 (its one argument)
    tie = Tie(how)
    plan = _told()
    if plan is None:
        return 2
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    plan.write()
    write_json(plan.rack_record, asdict(me()))
    failed = True
    try:
        log = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        if make(plan, tie.ends):
            rack = Rack(plan)
            with inside(plan):
                rack.follow()
                os.close(lock)
                plan.made.touch()
                while not tie.ends(_LOOK_EVERY_S):
                    rack.follow()
        failed = False
    except BenchFailed as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 (its log)
    finally:
        clean(plan)
        if failed and not tie.owner_is_gone:
            plan.rack_record.unlink()  # he reads the log and removes it
        else:
            forget(plan)
    return int(failed)


def _told() -> BenchPlan | None:
    """Read the plan; None where the owner has gone before he could say it all."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)  # no byte more: what follows is for the tie
        if not more:
            return None
        line += more
    return BenchPlan.from_json(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
