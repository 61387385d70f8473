# SPDX-License-Identifier: Apache-2.0
"""Records of ended leases go after a while, and with them nothing that still refuses, holds or has to be shown."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chaosgpu.agent import prune as pruning
from chaosgpu.agent.clock import SystemClock
from support.agent_host import AgentHost, wait_until

DAY_S = 86400.0


class Later(SystemClock):
    """The host's clocks, and so many seconds more since its start."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def boottime_s(self) -> float:
        return super().boottime_s() + self._seconds


def sweep(host: AgentHost, days: float) -> None:
    answer = host.tell("sweep", {"protocol": 1}, clock=Later(days * DAY_S))
    assert answer["status"] == 0


def ids(host: AgentHost) -> list[str]:
    return sorted(path.name for path in (host.home / "leases").iterdir())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep two ended leases whatever their age is, so that the test makes few."""
    monkeypatch.setattr(pruning, "KEEP_NEWEST", 2)
    return iter((None,))


def ended(host: AgentHost, *leases: str) -> None:
    for lease in leases:
        host.apply(lease=lease)
        host.undo(lease)
    wait_until(lambda: not host.keepers())


@pytest.mark.usefixtures("few")
def test_the_oldest_go_after_a_day_and_the_newest_after_a_month(host: AgentHost) -> None:
    ended(host, "d", "c", "b", "a")
    sweep(host, 0.9)
    assert ids(host) == ["a", "b", "c", "d"]
    sweep(host, 1.1)
    assert ids(host) == ["a", "b"]
    sweep(host, 29.0)
    assert ids(host) == ["a", "b"]
    sweep(host, 30.1)
    assert ids(host) == []


@pytest.mark.usefixtures("few")
def test_a_used_up_id_and_a_tombstone_are_refused_as_long_as_their_record_is_there(host: AgentHost) -> None:
    ended(host, "used")
    assert host.undo("late")["state"] == "tombstone"
    sweep(host, 29.0)
    assert host.apply(lease="used")["error"]["kind"] == "refused"
    assert host.apply(lease="late")["error"]["kind"] == "refused"
    assert host.apply(lease="new")["state"] == "active"  # the control: another id is not refused


def test_a_tombstone_goes_like_any_other(host: AgentHost) -> None:
    host.undo("late")
    sweep(host, 30.1)
    assert ids(host) == []


def test_what_is_open_stuck_or_damaged_stays_for_ever(host: AgentHost) -> None:
    host.apply(lease="stuck", breaks="undo:fail")
    assert host.undo("stuck")["state"] == "stuck"
    ended(host, "damaged")
    state = host.home / "leases/damaged/state"
    state.write_bytes(b"x" * state.stat().st_size)
    sweep(host, 400.0)
    assert ids(host) == ["damaged", "stuck"]


def test_the_age_of_a_record_of_an_earlier_start_counts_from_this_start(host: AgentHost) -> None:
    ended(host, "old")
    folder, state = host.lease_folder("old"), host.state("old")
    folder.save(replace(state, boot=replace(state.boot, boot_id="earlier")))
    up_s = SystemClock().boottime_s()
    sweep(host, 30.0 - (up_s + 60.0) / DAY_S)
    assert ids(host) == ["old"]
    sweep(host, 30.0)
    assert ids(host) == []


def test_a_claim_that_cannot_be_given_up_keeps_its_record(host: AgentHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its record it would be held for ever, and nobody could tell by whom."""
    host.apply()
    [claim] = host.claims()
    text = claim.read_text()
    host.undo()
    wait_until(lambda: not host.keepers())
    claim.write_text(text)
    monkeypatch.setattr("chaosgpu.agent.claims._remove", lambda _: False)
    sweep(host, 400.0)
    assert ids(host) == ["l1"]
    monkeypatch.undo()
    sweep(host, 400.0)
    assert (ids(host), host.claims()) == ([], [])


def test_a_removal_that_was_killed_is_finished_by_the_next_sweep(host: AgentHost) -> None:
    ended(host, "l1")
    leases = host.home / "leases"
    (leases / "l1").rename(leases / ".going-l1")
    assert host.ask("list", run="r1")["leases"] == []
    sweep(host, 0.0)
    assert list(leases.iterdir()) == []


def test_a_half_written_first_state_of_a_killed_apply_is_removed(host: AgentHost) -> None:
    folder = host.home / "leases/l1"
    folder.mkdir(parents=True)
    (folder / "state.4711.new").write_text("{")
    sweep(host, 0.0)
    assert list(folder.glob("*.new")) == []
    assert host.apply()["state"] == "active"


@pytest.mark.parametrize("verb", ["sweep", "undo"])
def test_what_was_half_written_when_the_lease_had_just_ended_is_removed(host: AgentHost, verb: str) -> None:
    ended(host, "l1")
    litter = host.home / "leases/l1/undo.4711.new"
    litter.write_text("{")
    if verb == "undo":
        host.undo()
    else:
        host.ask("sweep")
    assert not litter.exists()
