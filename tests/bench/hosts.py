# SPDX-License-Identifier: Apache-2.0
"""A fleet of real systemd hosts on this machine: up, and down without a trace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from bench import files, groups, network, nspawn, ssh
from bench.base import base
from bench.host import SSH_S, Host, end_of
from bench.leftovers import clean, forget_rack, only_one, sweep
from bench.plan import BENCHES, ROOT, BenchFailed, BenchPlan, me
from bench.triton import binds

__all__ = ["BENCHES", "Bench", "Host"]

_DOWN_S = 30.0
_POLL_S = 0.02


def _quiet(_: str) -> None:
    """Say nothing."""


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
        groups.make(f"{plan.identity}/controller")
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

    def _start_rack(self, plan: BenchPlan, *, kept: bool) -> None:
        reading, self._tie = os.pipe()
        try:
            with plan.log.open("ab") as log:
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
        while not plan.rack_record.exists():
            if rack.poll() is not None:
                raise BenchFailed(f"The rack ended with {rack.returncode} at once.\n{end_of(plan.log)}")
            time.sleep(0.005)

    def _connect_all(self) -> None:
        for host in self.hosts:
            host.wait_for_ssh(SSH_S)
        for host in self.hosts:
            host.connect(wait=False)
        for host in self.hosts:
            host.connect()

    def _take_down(self, plan: BenchPlan) -> None:
        for host in self.hosts:
            host.disconnect()
        rack = plan.rack()
        if self._rack is not None:
            self._rack.terminate()  # it may be too young to have said which process it is
        elif rack is not None:
            os.kill(rack.pid, signal.SIGTERM)
        if self._tie is not None:
            os.close(self._tie)
        deadline = time.monotonic() + _DOWN_S
        while plan.rack() is not None or (self._rack is not None and self._rack.poll() is None):
            if time.monotonic() > deadline:
                raise BenchFailed(f"The rack did not end within {_DOWN_S:g} s.\n{end_of(plan.log)}")
            time.sleep(_POLL_S)
        clean(plan)
        forget_rack(plan)
        self._plan, self._rack, self._tie, self.hosts = None, None, None, []
