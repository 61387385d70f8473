# SPDX-License-Identifier: Apache-2.0
"""Crash points of faults on units and packages: the harness is copied into a test host, a worker in it strikes."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pynvml

from bench import drift_units, packages
from bench.hosts import Host
from bench.plan import ROOT, BenchFailed
from chaosgpu.agent.shim.library import Library
from chaosgpu.selfdrill.plan import Segment
from chaosgpu.selfdrill.points import Outcome, Point
from crash.jobs import Job, point_from
from crash.unit_victims import SHIM
from crash.unit_world import HOME
from support.debs import build_repository

__all__ = ["Striker", "Struck"]

type Struck = tuple[str, int, Outcome]

_PLACE = Path("/opt/strike")
_PYTHON = "/usr/bin/python3"
_WORKER = ["env", f"PYTHONPATH={_PLACE}", _PYTHON, "-B", "-S", str(_PLACE / "crash" / "unit_worker.py")]
_PARTS = ("chaosgpu/__init__.py", "chaosgpu/agent", "chaosgpu/selfdrill", "tests/crash")
_COMPILES_WITHIN_S = 120.0


class Striker:
    """One host that is struck; a worker in it does the striking."""

    def __init__(self, host: Host, shim_sha256: str) -> None:
        self._host, self._shim_sha256 = host, shim_sha256

    @classmethod
    def install(cls, host: Host, shim: Library) -> "Striker":
        """Copy agent and harness there; the host's own Python compiles them once."""
        place = host.plan.root / str(_PLACE).lstrip("/")
        for part in _PARTS:
            target = place / part.removeprefix("tests/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / part, target)
        shutil.copy(str(pynvml.__file__), place)
        for path, source in ((SHIM, Path(shim.path)), *drift_units.libraries()):
            target = host.plan.root / str(path).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        host.run([_PYTHON, "-m", "compileall", "-q", str(_PLACE)], timeout_s=_COMPILES_WITHIN_S, check=True)
        return cls(host, shim.sha256)

    def renew(self, kept: Path) -> None:
        """Keep what is left of the agent's state aside, and start the host anew."""
        shutil.copytree(f"/proc/{self._host.init()}/root{HOME}", kept, dirs_exist_ok=True)
        self.restart()
        if self._packages().exists():
            packages.remove(self._host)

    def restart(self) -> None:
        """Start the host anew."""
        self._host.reboot()

    def trace(self, fault: str, phases: Sequence[str], roles: Sequence[str] = ()) -> list[Segment]:
        """Trace the phases of a fault unharmed; with `roles` only those processes of them."""
        return [Segment.from_json(line) for line in self._work(fault, trace=[*phases], roles=[*roles])]

    def failing(self, fault: str, count: int) -> list[Point]:
        """Draw calls of a fault that are to fail."""
        return [point_from(line) for line in self._work(fault, fail=count)]

    def strike(self, fault: str, jobs: Sequence[Job], known: Sequence[Segment]) -> Iterator[Struck]:
        """Strike; yield of each job its name, how often it was tried, and what came of it. Residue is the last."""
        asked = {"jobs": [job.to_json() for job in jobs], "known": [segment.to_json() for segment in known]}
        for line in self._work(fault, **asked):
            yield line["name"], line["tries"], Outcome(**line["outcome"])

    def opened(self, fault: str) -> set[str]:
        """Return the agent's files that the verbs of a lease open."""
        return {name for line in self._work(fault, opened=True) for name in line["opened"]}

    def control(self, fault: str, order: str) -> list[tuple[str, bool, bool]]:
        """Kill a script that breaks the like in this order at each call: the call, whether it hit, whether it stays."""
        return [(call, hit, left) for line in self._work(fault, control=order) for call, hit, left in [line["control"]]]

    def _packages(self) -> Path:
        return self._host.plan.root / packages.REPOSITORY.lstrip("/")

    def _bring_packages(self) -> None:
        """Install the driver's packages, as a site has them, unless they are there."""
        if not self._packages().exists():
            with tempfile.TemporaryDirectory() as folder:
                build_repository(Path(folder))
                packages.set_up(self._host, Path(folder))

    def _work(self, fault: str, **asked: Any) -> Iterator[Any]:
        if fault in packages.FAULTS:
            self._bring_packages()
        with self._host.start(_WORKER) as worker:
            try:
                if worker.stdin is None or worker.stdout is None or worker.stderr is None:
                    raise BenchFailed("The worker on the host has no streams.")
                worker.stdin.write(json.dumps({"fault": fault, "shim_sha256": self._shim_sha256, **asked}).encode())
                worker.stdin.close()
                for line in worker.stdout:
                    yield json.loads(line)
                if worker.wait() != 0:
                    said = worker.stderr.read().decode(errors="replace")[-2000:]
                    raise BenchFailed(f"The worker on {self._host.name} ended with {worker.returncode}: {said}")
            finally:
                worker.kill()
