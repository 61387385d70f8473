# SPDX-License-Identifier: Apache-2.0
"""A fleet of real systemd hosts on this machine: up, run a command, ask the agent, reboot, pull the plug, down."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import files, groups, network, nspawn, ssh
from bench.base import base
from bench.leftovers import clean, only_one, sweep
from bench.plan import BENCHES, ROOT, BenchFailed, BenchPlan, HostPlan, me, read_identity
from bench.triton import binds

from chaosgpu.sim import build
from chaosgpu.sim.instance import Instance

__all__ = ["BENCHES", "Bench", "Host"]

_SSH_S = 60.0
_DOWN_S = 30.0
_POLL_S = 0.02


def _quiet(_: str) -> None:
    """Say nothing."""


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

    def memory_mib(self) -> float:
        """Return what the host's processes use: their proportional share of every page, in MiB."""
        total_kib = 0
        for pid in groups.pids(nspawn.group(self._plan, self.plan)):
            try:
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # it ended meanwhile
            total_kib += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
        return total_kib / 1024

    def reboot(self, within_s: float = _SSH_S) -> float:
        """Reboot in an orderly way; return how many seconds until SSH answered."""
        before, start = self._boots(), time.monotonic()
        self.run(["systemctl", "reboot"])
        while self._boots() <= before:
            if time.monotonic() - start > within_s:
                raise BenchFailed(f"{self.name} did not reboot within {within_s:g} s; see its console.log.")
            time.sleep(_POLL_S)
        self.disconnect()
        self.wait_for_ssh(within_s)
        return time.monotonic() - start

    def kill(self) -> None:
        """Pull the plug: no process of the host gets to do anything more."""
        self.plan.path("power").write_text("off")
        who = read_identity(self.plan.path("running.json"))
        if who is not None:
            os.kill(who.pid, signal.SIGKILL)
        groups.kill(nspawn.group(self._plan, self.plan))
        while self.plan.path("running.json").exists():
            time.sleep(_POLL_S)  # until the rack has seen it
        self.disconnect()

    def power_on(self, within_s: float = _SSH_S) -> float:
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
        while not network.answers(self._plan, self.plan, 22, 0.3):
            if time.monotonic() > deadline:
                raise BenchFailed(f"SSH of {self.name} did not answer within {within_s:g} s; see its console.log.")
            time.sleep(_POLL_S)

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
        while wait and not socket.exists() and master.poll() is None:
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

    def _boots(self) -> int:
        try:
            return int(json.loads(self.plan.path("running.json").read_text())["boots"])
        except FileNotFoundError:
            return 0  # between two starts


class Bench:
    """Hosts, network and controller's connections, from `up` to `down`."""

    def __init__(self, directory: Path, plan: BenchPlan | None = None) -> None:
        self.directory = directory
        self._plan = plan
        self._tie: int | None = None
        self._rack: subprocess.Popen[bytes] | None = None
        self.hosts: list[Host] = [] if plan is None else [Host(plan, host) for host in plan.hosts]

    @property
    def plan(self) -> BenchPlan:
        """The plan of a bench that is up."""
        if self._plan is None:
            raise BenchFailed(f"No bench is up in {self.directory}.")
        return self._plan

    @classmethod
    def attach(cls, directory: Path) -> "Bench":
        """Take up a bench that another process has made."""
        return cls(directory, BenchPlan.read(directory))

    def up(self, count: int, say: Callable[[str], None] = _quiet, *, kept: bool = False) -> list[Host]:
        """Boot so many hosts and wait until SSH answers on all; a kept bench outlives this process."""
        lower = base(say)
        bound = binds(say)
        with only_one(self.directory.parent):
            sweep(self.directory.parent)
            if BenchPlan.read(self.directory) is not None:
                raise BenchFailed(f"A bench is already up in {self.directory}; take it down first: make bench-down")
            layers = (str(self.directory / "common" / "upper"), str(lower))
            plan = BenchPlan.new(self.directory, count, layers, bound, None if kept else me())
            self.directory.mkdir(parents=True)
            plan.write()
            try:
                self._make(plan, say)
                self._start_rack(plan, kept=kept)
                self._plan, self.hosts = plan, [Host(plan, host) for host in plan.hosts]
                self._connect_all()
            except BaseException:  # an interrupt too must not leave a bench behind
                self._take_down(plan)
                raise
        return self.hosts

    def down(self) -> None:
        """End every host and remove every trace; safe to call twice."""
        with only_one(self.directory.parent):
            plan = self._plan or BenchPlan.read(self.directory)
            if plan is not None:
                self._take_down(plan)
            sweep(self.directory.parent)

    def inside(self) -> AbstractContextManager[None]:
        """Be in the bench's network, where the hosts' addresses are: for sockets, and for processes started here."""
        return network.inside(self.plan)

    def _make(self, plan: BenchPlan, say: Callable[[str], None]) -> None:
        for host in plan.hosts:
            Path(host.directory).mkdir(parents=True)
        ssh.make_keys(plan)
        ssh.write_config(plan)
        common = plan.path("common")
        files.write_common(nspawn.mount(plan.layers[1:], common), plan, say)
        subprocess.run(["umount", str(common / "root")], check=True, timeout=20)
        for number, host in enumerate(plan.hosts, start=1):
            nspawn.mount(plan.layers, Path(host.directory))
            files.write_host(host, number)
            host.path("power").write_text("on")
        network.make(plan)
        groups.make(f"{plan.identity}/controller")

    def _start_rack(self, plan: BenchPlan, *, kept: bool) -> None:
        reading, self._tie = os.pipe()
        try:
            with plan.path("rack.log").open("ab") as log:
                rack = self._rack = subprocess.Popen(
                    [sys.executable, "-m", "bench.rack", plan.directory, "kept" if kept else "tied"],
                    stdin=subprocess.DEVNULL if kept else reading,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
                    start_new_session=True,
                )
        finally:
            os.close(reading)
        while not plan.path("rack.json").exists():
            if rack.poll() is not None:
                raise BenchFailed(f"The rack ended with {rack.returncode} before any host was started.")
            time.sleep(0.005)

    def _connect_all(self) -> None:
        for host in self.hosts:
            host.wait_for_ssh(_SSH_S)
        for host in self.hosts:
            host.connect(wait=False)
        for host in self.hosts:
            host.connect()

    def _take_down(self, plan: BenchPlan) -> None:
        for host in self.hosts:
            host.disconnect()
        rack = plan.rack()
        if rack is not None:
            os.kill(rack.pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_S
        while plan.rack() is not None:
            if time.monotonic() > deadline:
                raise BenchFailed(f"The rack of {plan.directory} did not end within {_DOWN_S:g} s; see its rack.log.")
            time.sleep(_POLL_S)
        if self._rack is not None:
            self._rack.wait()
        clean(plan)
        if self._tie is not None:
            os.close(self._tie)
        self._plan, self._rack, self._tie, self.hosts = None, None, None, []
