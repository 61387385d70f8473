# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs and a driver on them, for the tests of the readings."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.main import Parts, main
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.values import JsonMapping
from chaosgpu.fleet.transports import Reply
from chaosgpu.sim.instance import Instance, create

type MakeGpus = Callable[..., Instance]
type MakeDriver = Callable[..., ForkedDriver]
type MakeAgent = Callable[[Instance | None], InProcess]


@pytest.fixture
def make_gpus(tmp_path: Path) -> MakeGpus:
    """Make simulated GPUs of a product; the same seed gives the same GPUs."""
    made: list[Instance] = []

    def make(profile: str = "h100", gpus: int = 2, *, seed: int = 1) -> Instance:
        made.append(create(tmp_path / f"gpus-{len(made)}", profile, gpus, seed=seed, simulated_root=True))
        return made[-1]

    return make


@pytest.fixture
def make_driver() -> Iterator[MakeDriver]:
    """Make drivers that are ended with the test."""
    drivers: list[ForkedDriver] = []

    def make(instance: Instance | None = None, deadline_s: float = 5.0, start_extra_s: float = 3.0) -> ForkedDriver:
        environment = None if instance is None else instance.environment()
        drivers.append(ForkedDriver(environment, deadline_s=deadline_s, start_extra_s=start_extra_s))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.close()


@pytest.fixture
def make_tools(make_driver: MakeDriver, tmp_path: Path) -> Callable[[Instance], Tools]:
    """Make what readings use, on these GPUs; the kernel log is a file of the test."""

    def make(instance: Instance) -> Tools:
        log = tmp_path / "kmsg"
        log.touch()
        instance.set_system(kmsg_path=str(log))
        return Tools(make_driver(instance), SystemClock(), kernel_log=str(log))

    return make


def uuid_of(instance: Instance, gpu: int = 0) -> str:
    """Return the UUID of one of the GPUs."""
    return str(instance.show()[gpu]["identity"]["uuid"])


@contextlib.contextmanager
def holding(instance: Instance, uuid: str, mib: int, step_mib: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that holds memory of a GPU, and takes `step_mib` more every 50 ms."""
    script = Path(__file__).with_name("holder.py")
    arguments = [sys.executable, str(script), uuid, str(mib), str(step_mib)]
    environment = {**os.environ, **instance.environment()}
    with subprocess.Popen(arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        try:
            yield process
        finally:
            process.kill()


@dataclass(frozen=True)
class InProcess:
    """A transport to the real agent's verbs in this process; the driver's child is still a process of its own."""

    instance: Instance | None
    environment: Mapping[str, str]
    folder: Path

    def command_of(self, host: str) -> None:
        """Return None: this one cannot be reached from another process."""

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:  # noqa: ARG002 (the seam's form)
        answer = io.BytesIO()
        parts = Parts(new_driver=self._driver, dev_log=str(self.folder / "log"), run_halt=str(self.folder / "HALT"))
        status = main([verb], io.BytesIO(document), answer, parts, self.environment)
        return Reply(status, answer.getvalue(), b"")

    def ask(self, verb: str, **request: object) -> dict[str, Any]:
        """Ask the agent and return whatever it answers."""
        document = json.dumps({"protocol": 1, **request}).encode()
        answer: dict[str, Any] = json.loads(self.carry("localhost", verb, document, 5.0).stdout)
        return answer

    def _driver(self, environment: Mapping[str, str] | None = None, library: JsonMapping | None = None) -> ForkedDriver:
        found = None if self.instance is None else self.instance.environment()
        return ForkedDriver(environment or found, library)


@pytest.fixture
def make_agent(tmp_path: Path) -> Callable[[Instance | None], InProcess]:
    """Make an agent on these GPUs, with a home and a policy of the test."""

    def make(instance: Instance | None) -> InProcess:
        home, log = tmp_path / "home", tmp_path / "kmsg"
        home.mkdir(exist_ok=True)
        (home / "policy.json").write_text('{"version": 1, "permit": ["gpu.*"], "max_duration_s": 600}')
        log.touch()
        if instance is not None:
            instance.set_system(kmsg_path=str(log))
        environment = {"CHAOSGPU_AGENT_HOME": str(home), "CHAOSGPU_KERNEL_LOG": str(log)}
        return InProcess(instance, environment, tmp_path)

    return make
