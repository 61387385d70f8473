# SPDX-License-Identifier: Apache-2.0
"""One host of a bench that is up: run a command, ask the agent, reboot, pull the plug, cut the network."""

import json
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import files, groups, network, nspawn, ssh
from bench.plan import BenchFailed, BenchPlan, HostPlan, read_identity
from chaosgpu.sim import build
from chaosgpu.sim.instance import Instance

__all__ = ["SSH_S", "Host", "end_of"]

SSH_S = 60.0
_OFF_S = 30.0
_CONNECT_S = 10.0
_POLL_S = 0.02


def end_of(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else f"{log} is not there."


class Host:
    """One host of a bench that is up."""

    def __init__(self, plan: BenchPlan, host: HostPlan) -> None:
        self._plan, self.plan = plan, host
        self.name, self.address = host.name, host.address
        self._masters: dict[str, subprocess.Popen[bytes]] = {}

    def run(
        self,
        command: Sequence[str],
        stdin: str | None = None,
        timeout_s: float = 30.0,
        *,
        user: str = "root",
        check: bool = False,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command there over the open connection; 255 is ssh's own failure. `check` raises on any."""
        self.connect(user)
        arguments = [*ssh.words(self._plan, self.plan, user), shlex.join(command)]
        with network.inside(self._plan):
            done = subprocess.run(
                arguments, input=stdin or "", capture_output=True, text=True, timeout=timeout_s, check=False
            )
        if check and done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            raise BenchFailed(f"{shlex.join(command)} ended with {done.returncode} on {self.name}: {said}")
        return done

    def start(self, command: Sequence[str], *, user: str = "root") -> "subprocess.Popen[bytes]":
        """Start a command there over a connection of its own; killing what is returned cuts that connection."""
        arguments = ssh.words(self._plan, self.plan, user, "-o", "ControlPath=none")
        with network.inside(self._plan):
            return self._spawn([*arguments, shlex.join(command)], subprocess.PIPE)

    def agent(self, verb: str, request: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """Ask the host's agent; an error answer is returned as it is."""
        said = self.run([files.AGENT, verb], json.dumps({"protocol": 1, **(request or {})}), **options)
        try:
            answer: dict[str, Any] = json.loads(said.stdout)
        except ValueError as error:
            raise BenchFailed(f"The agent of {self.name} gave no answer ({said.returncode}): {said.stderr}") from error
        return answer

    def gpus(self) -> Instance:
        """Return the host's simulated GPUs, to look at and to change from outside."""
        return Instance(Path(f"/proc/{self.init()}/root{files.STATE}"), build.libraries())

    def init(self) -> int:
        """Return the pid of the host's own first process, as this machine counts."""
        who = read_identity(self.plan.path("running.json"))
        children = [] if who is None else Path(f"/proc/{who.pid}/task/{who.pid}/children").read_text().split()
        if not children:
            raise BenchFailed(f"{self.name} is not running.")
        return int(children[0])

    def pids(self) -> list[int]:
        """Return the host's processes, as this machine counts."""
        return groups.pids(nspawn.group(self._plan, self.plan))

    def memory_mib(self) -> float:
        """Return what the host's processes use: their proportional share of every page, in MiB."""
        total_kib = 0
        for pid in self.pids():
            try:
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # it ended meanwhile
            total_kib += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return total_kib / 1024

    def reboot(self, within_s: float = SSH_S) -> float:
        """Reboot in an orderly way; return how many seconds until SSH answered."""
        before, start = self._boots(), time.monotonic()
        self.run(["systemctl", "reboot"])
        while self._boots() <= before:
            if time.monotonic() - start > within_s:
                raise BenchFailed(f"{self.name} did not reboot within {within_s:g} s.\n{self._last_words()}")
            time.sleep(_POLL_S)
        self.disconnect()
        self.wait_for_ssh(within_s)
        return time.monotonic() - start

    def kill(self) -> None:
        """Pull the plug: no process of the host gets to do anything more."""
        self.plan.path("power").write_text("off")
        groups.kill(nspawn.group(self._plan, self.plan))  # its nspawn and all that runs in it, in one go
        deadline = time.monotonic() + _OFF_S
        while self.plan.path("running.json").exists():  # until the rack has seen it
            if time.monotonic() > deadline:
                raise BenchFailed(f"The rack did not see within {_OFF_S:g} s that {self.name} is off; is it alive?")
            time.sleep(_POLL_S)
        self.disconnect()

    def power_on(self, within_s: float = SSH_S) -> float:
        """Put the plug back in; return how many seconds until SSH answered."""
        start = time.monotonic()
        self.plan.path("power").write_text("on")
        self.wait_for_ssh(within_s)
        return time.monotonic() - start

    def cut_network(self) -> None:
        """Pull the network cable; what is on its way is lost, and nobody is told."""
        network.set_link(self._plan, self.plan, "down")

    def restore_network(self, within_s: float = 10.0) -> None:
        """Plug the network cable in again."""
        network.set_link(self._plan, self.plan, "up")
        self.wait_for_ssh(within_s)

    def wait_for_ssh(self, within_s: float) -> None:
        """Wait until sshd speaks."""
        deadline = time.monotonic() + within_s
        while self._plan.rack() is not None and not network.answers(self._plan, self.plan, 22, 0.3):
            if self.plan.path("power").read_text() == "off" or time.monotonic() > deadline:
                raise BenchFailed(f"SSH of {self.name} did not answer within {within_s:g} s.\n{self._last_words()}")
            time.sleep(_POLL_S)
        if self._plan.rack() is None:
            raise BenchFailed(f"The rack has ended, and took the hosts with it.\n{end_of(self._plan.log)}")

    def connect(self, user: str = "root", *, wait: bool = True) -> None:
        """Open the connection that commands share, if it is not open."""
        socket = self._plan.sockets / f"{self.name}.{user}"
        master = self._masters.get(user)
        if master is None or master.poll() is not None:
            if socket.exists() and master is None:
                return  # another process of ours holds it
            with network.inside(self._plan):
                arguments = ssh.words(self._plan, self.plan, user, "-M", "-N")
                self._masters[user] = master = self._spawn(arguments, subprocess.DEVNULL)
        deadline = time.monotonic() + _CONNECT_S
        while wait and not socket.exists() and master.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)

    def disconnect(self) -> None:
        """End the shared connections at once."""
        for user, master in self._masters.items():
            master.kill()
            master.wait()
            (self._plan.sockets / f"{self.name}.{user}").unlink(missing_ok=True)
        self._masters.clear()

    def _spawn(self, arguments: list[str], stdin: int) -> "subprocess.Popen[bytes]":
        out = subprocess.DEVNULL if stdin == subprocess.DEVNULL else subprocess.PIPE
        return subprocess.Popen(
            arguments, stdin=stdin, stdout=out, stderr=out, start_new_session=True,
            preexec_fn=groups.enter(f"{self._plan.identity}/controller"),  # noqa: PLW1509 (a write, before threads)
        )  # fmt: skip

    def _last_words(self) -> str:
        return end_of(self.plan.path("console.log"))

    def _boots(self) -> int:
        try:
            return int(json.loads(self.plan.path("running.json").read_text())["boots"])
        except FileNotFoundError:
            return 0  # between two starts
