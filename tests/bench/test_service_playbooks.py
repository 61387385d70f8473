# SPDX-License-Identifier: Apache-2.0
"""drain, return and quarantine on two systemd hosts, as an operator whom one line in sudoers lets run the agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.hosts import Bench, Host
from bench.leases import order
from bench.playing import DRILL, Player
from bench.service import ask, forget, gates, on_gpu
from bench.units import put, shown, take_away
from bench.waiting import wait_until

UNIT = "served.service"
GIVEN: dict[str, Any] = {
    "chaosgpu_drill": DRILL,
    "chaosgpu_reason": "autumn drill",
    "chaosgpu_drain": {"units": [UNIT], "within_s": 120},
    "chaosgpu_max_unavailable": 2,
}

pytestmark = pytest.mark.timeout(900)  # as in test_service.py


@pytest.fixture
def player(fleet: Bench, host: Host, other: Host, tmp_path: Path) -> Iterator[Player]:
    """Give what plays on two hosts, each with one small service up."""
    for one in (host, other):
        forget(one)
        put(one, UNIT)
    yield Player(fleet, tmp_path)
    for one in (host, other):
        forget(one)
        take_away(one, UNIT)


def _active(host: Host) -> bool:
    return shown(host, UNIT, "ActiveState") == ["active"]


def test_each_says_first_what_it_does_does_it_once_and_the_hosts_are_back(
    player: Player, host: Host, other: Host
) -> None:
    both = (host, other)
    for name, up in (("drain", False), ("return", True)):
        looked = player.play(name, "--check", "--diff", **GIVEN)
        assert (looked.status, [_active(one) for one in both]) == (0, [not up] * 2), looked.said
        played = player.play(name, "--diff", **GIVEN)
        assert (played.status, [_active(one) for one in both]) == (0, [up] * 2), played.said
        assert sorted(played.diff) == sorted(looked.diff)
        assert {played.told(one.name)["ok"] for one in both} == {True}
        assert [(looked.changed(one.name), played.changed(one.name)) for one in both] == [(1, 1)] * 2
        again = player.play(name, "--diff", **GIVEN)
        assert (again.status, [again.changed(one.name) for one in both], again.diff) == (0, [0, 0], []), again.said


def test_a_host_that_refuses_is_as_it_was_and_the_other_tells_that_it_is_drained(
    player: Player, host: Host, other: Host
) -> None:
    on_gpu(other, "stranger")
    try:
        wait_until(lambda: [gpu for gpu in other.gpus().show() if gpu["processes"]], 60.0)
        played = player.play("drain", **GIVEN)
        assert played.status == 2
        assert (played.told(host.name)["ok"], played.told(host.name)["state"]) == (True, "drained")
        told = played.told(other.name)
        assert told["ok"] is False
        assert "stranger.service" in told["said"]
        assert (_active(host), _active(other), gates(other)) == (False, True, [])
        player.play("return", **GIVEN)
        assert (_active(host), _active(other)) == (True, True)
    finally:
        other.run(["systemctl", "stop", "stranger"])


def test_a_controller_that_is_killed_while_it_drains_leaves_a_host_that_the_next_drain_or_return_finds(
    player: Player, host: Host, other: Host
) -> None:
    playing = player.start("drain", **GIVEN)
    wait_until(lambda: gates(host), 120.0)
    player.kill()
    playing.communicate(timeout=30)
    played = player.play("drain", **GIVEN)
    assert (played.status, _active(host), _active(other)) == (0, False, False), played.said
    assert player.play("return", **GIVEN).status == 0
    assert (_active(host), _active(other), gates(host)) == (True, True, [])


def test_a_host_that_did_not_come_back_is_quarantined_and_refuses_faults_and_the_other_is_returned(
    player: Player, host: Host, other: Host
) -> None:
    player.play("drain", **GIVEN)
    marked = {**GIVEN, "chaosgpu_reason": "it did not come back", "chaosgpu_differences": ["libcuda is 580"]}
    limit = ("--limit", other.name)
    looked = player.play("quarantine", "--check", "--diff", *limit, **marked)
    played = player.play("quarantine", "--diff", *limit, **marked)
    assert (played.status, played.diff) == (0, looked.diff), played.said
    assert (played.told(other.name)["state"], played.told(other.name)["drained"]) == ("quarantined", True)
    assert player.play("quarantine", *limit, **marked).changed(other.name) == 0
    assert other.agent("apply", order(other, "l", 30.0))["error"]["kind"] == "halted"
    returned = player.play("return", **GIVEN)
    assert returned.status == 2
    assert (returned.told(host.name)["ok"], returned.told(other.name)["ok"]) == (True, False)
    assert (_active(host), _active(other)) == (True, False)
    ask(other, "release", by="ann", reason="driver put back by hand")
    assert player.play("return", **GIVEN).status == 0
    assert _active(other)
