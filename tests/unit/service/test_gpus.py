# SPDX-License-Identifier: Apache-2.0
"""Who is on the GPUs: real processes on simulated ones, with the program's name and the group they are in."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import Refused
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.gpus import refuse_processes, refuse_unaccounted, strangers
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget
from chaosgpu.sim.instance import Instance, create
from support.service_desk import ServiceHost
from unit.readings.conftest import holding, uuid_of

PYTHON = Path(sys.executable).resolve().name


@pytest.fixture
def gpus(tmp_path: Path) -> Instance:
    return create(tmp_path / "gpus", "h100", 2, seed=1, simulated_root=True)


@pytest.fixture
def desk(host: ServiceHost, gpus: Instance) -> Iterator[Desk]:
    """Give a desk whose driver sees these GPUs."""
    driver = ForkedDriver(gpus.environment())
    yield replace(host.desk(), driver=driver)
    driver.close()


def test_a_process_is_found_with_its_name_and_allowed_by_it(desk: Desk, gpus: Instance) -> None:
    assert strangers((), desk) == []
    with holding(gpus, uuid_of(gpus, 1), 64) as process:
        [found] = strangers((), desk)
        assert (found.pid, found.gpu) == (process.pid, uuid_of(gpus, 1))
        assert PYTHON in found.names
        assert strangers((PYTHON,), desk) == []
        with pytest.raises(Refused, match=f"Processes are on the GPUs of this host: pid {process.pid} ."):
            refuse_processes((), desk, Budget(desk.clock, 0.3))
        refuse_processes((PYTHON,), desk, Budget(desk.clock, 0.3))


def test_one_that_goes_within_the_time_is_waited_for(desk: Desk, gpus: Instance) -> None:
    with holding(gpus, uuid_of(gpus), 64) as process:
        assert strangers((), desk)
        process.kill()
        refuse_processes((), desk, Budget(desk.clock, 10.0))


def test_before_anything_is_touched_those_that_will_not_go_are_refused(desk: Desk, gpus: Instance) -> None:
    with holding(gpus, uuid_of(gpus), 64) as process:
        [found] = strangers((), desk)
        with pytest.raises(Refused, match=f"Processes would stay on the GPUs of this host: pid {process.pid} "):
            refuse_unaccounted((), (Taken("units", {"units": [{"unit": "other.service"}]}),), desk)
        of_container = Taken("containers", {"containers": [{"id": "0" * 64, "pid": process.pid}]})
        refuse_unaccounted((), (of_container,), desk)
        refuse_unaccounted((), (Taken("hook", {}),), desk)
        last = found.group.rstrip("/").rpartition("/")[2]
        if last:
            refuse_unaccounted((), (Taken("units", {"units": [{"unit": last}]}),), desk)


def test_a_gpu_that_does_not_answer_is_a_refusal(desk: Desk, gpus: Instance) -> None:
    gpus.inject("lost", 0)
    with pytest.raises(Refused, match=r"A GPU does not answer|does not tell the processes"):
        strangers((), desk)


def test_a_host_without_the_driver_has_nobody_on_a_gpu(host: ServiceHost) -> None:
    assert strangers((), host.desk()) == []
