# SPDX-License-Identifier: Apache-2.0
"""A fleet of real systemd hosts on this machine: up, and down without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from bench import network, rack
from bench.base import base
from bench.host import SSH_S, Host, end_of
from bench.leftovers import clean, forget, only_one, sweep
from bench.machine import refuse_so_many
from bench.plan import BENCHES, ROOT, BenchFailed, BenchPlan, me
from bench.triton import binds

__all__ = ["BENCHES", "Bench", "Host"]

_DOWN_S = 30.0
_MADE_S = 120.0
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

    def up(
        self,
        count: int,
        say: Callable[[str], None] = _quiet,
        *,
        kept: bool = False,
        extra: tuple[str, ...] = (),
        shown: tuple[str, ...] = (),
    ) -> list[Host]:
        """Boot so many hosts and wait until SSH answers on all; a kept bench outlives this process.

        `extra` are layers with more packages, between the Debian that all have and what is the hosts' own; `shown` are
        folders of this machine that the hosts see at the same place and may only read.
        """
        refuse_so_many(count)
        lower = base(say)
        bound = (*binds(say), *shown)
        with only_one(self.directory.parent) as lock:
            sweep(self.directory.parent)
            if BenchPlan.read(self.directory) is not None:
                raise BenchFailed(f"A bench is already up in {self.directory}; take it down first: make bench-down")
            if self.directory.exists():
                raise BenchFailed(f"{self.directory} is there and no bench of ours: move it away.")
            layers = (str(self.directory / "common" / "upper"), *extra, str(lower))
            plan = BenchPlan.new(self.directory, count, layers, bound, None if kept else me())
            try:
                self._start_rack(plan, lock, kept=kept)
                self._plan, self.hosts = plan, [Host(plan, host) for host in plan.hosts]
                self._connect_all()
                if kept and self._tie is not None:
                    os.write(self._tie, rack.KEEP)
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

    def _start_rack(self, plan: BenchPlan, lock: int, *, kept: bool) -> None:
        """Let the rack make everything: what this process has not begun it cannot leave half-done when it is killed."""
        reading, self._tie = os.pipe()
        try:
            self._rack = subprocess.Popen(
                [sys.executable, "-m", "bench.rack", "kept" if kept else "tied", str(lock)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
                pass_fds=[lock],
                start_new_session=True,
            )
        finally:
            os.close(reading)
        os.write(self._tie, json.dumps(asdict(plan)).encode() + b"\n")
        deadline = time.monotonic() + _MADE_S
        while not plan.made.exists():
            if self._rack.poll() is not None:
                raise BenchFailed(f"The rack ended with {self._rack.returncode} at once.\n{end_of(plan.log)}")
            if time.monotonic() > deadline:
                raise BenchFailed(f"The rack did not make the bench within {_MADE_S:g} s.\n{end_of(plan.log)}")
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
        known = plan.rack()
        if self._rack is not None:
            self._rack.terminate()  # it may be too young to have said which process it is
        elif known is not None:
            os.kill(known.pid, signal.SIGTERM)
        if self._tie is not None:
            os.close(self._tie)
        deadline = time.monotonic() + _DOWN_S
        while plan.rack() is not None or (self._rack is not None and self._rack.poll() is None):
            if time.monotonic() > deadline:
                raise BenchFailed(f"The rack did not end within {_DOWN_S:g} s.\n{end_of(plan.log)}")
            time.sleep(_POLL_S)
        if self._rack is not None or known is not None or self._tie is None:
            clean(plan)  # else it was started and we were interrupted before we knew it: it cleans by itself
            forget(plan)
        self._plan, self._rack, self._tie, self.hosts = None, None, None, []
