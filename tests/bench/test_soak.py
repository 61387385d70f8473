# SPDX-License-Identifier: Apache-2.0
"""A sample of the random kills; as many as there is time for: `python benchmarks/soak.py`."""

from collections.abc import Iterator

import pytest

from bench import soak
from bench.files import AGENT
from bench.hosts import Bench, Host


@pytest.fixture
def soaked(host: Host) -> Iterator[Host]:
    soak.prepare(host)
    yield host
    host.agent("undo", {"all": True})
    host.run([AGENT, "remove-units"], check=True)
    host.run(["sh", "-c", "rm -r /etc/systemd/system/chaosgpu-sweep.timer.d"], check=True)


def test_random_kills_of_our_own_processes_leave_nothing(fleet: Bench, soaked: Host) -> None:
    rounds = [soak.play(fleet, soaked, number) for number in range(3)]
    assert [one.residue for one in rounds] == [(), (), ()], rounds
    assert sum(len(one.kills) for one in rounds) >= 6, rounds
    assert sum(one.applied for one in rounds) >= 1, rounds
