# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs and a driver on them, for the tests of the readings."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.sim.instance import Instance, create

type MakeGpus = Callable[..., Instance]
type MakeDriver = Callable[..., ForkedDriver]


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
def holding(instance: Instance, uuid: str, mib: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that holds memory of a GPU."""
    script = Path(__file__).with_name("holder.py")
    arguments = [sys.executable, str(script), uuid, str(mib)]
    environment = {**os.environ, **instance.environment()}
    with subprocess.Popen(arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"holds\n"
        try:
            yield process
        finally:
            process.kill()
