# SPDX-License-Identifier: Apache-2.0
"""A drain and its return as a pair: twice is once, others' changes stay, and each refusal leaves all as it was."""

import hashlib
import json
from pathlib import Path

import pytest

from chaosgpu.agent.errors import AgentError, Refused, Unverified
from chaosgpu.agent.service.order import Wanted
from support.service_desk import KINDS, ServiceHost

UP = dict.fromkeys(KINDS, "up")
DOWN = dict.fromkeys(KINDS, "down")


def _files(folder: Path) -> dict[str, str]:
    """Return every file below a folder with its digest, but for logs that only say who asked."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_return_puts_back_what_the_drain_took_and_nothing_of_the_drain_stays(host: ServiceHost) -> None:
    answer = host.drain()
    assert (host.look(), answer.state) == (DOWN, "drained")
    assert answer.to_json()["changed"] is True
    assert host.give_back().to_json()["changed"] is True
    assert host.look() == UP
    assert sorted(path.name for path in (host.agent.home / "service").iterdir()) == ["history.jsonl", "lock"]


def test_twice_is_once_and_says_so(host: ServiceHost) -> None:
    host.drain()
    assert host.drain().to_json()["changed"] is False
    host.give_back()
    assert host.give_back().to_json()["changed"] is False
    assert host.look() == UP


def test_what_was_down_before_stays_down(host: ServiceHost) -> None:
    host.path("engine").write_text("down")
    host.drain()
    host.give_back()
    assert host.look() == {"door": "up", "engine": "down"}


def test_what_somebody_changed_meanwhile_is_left_alone_and_told(host: ServiceHost) -> None:
    host.drain()
    host.path("engine").write_text("theirs")
    answer = host.give_back()
    assert host.look() == {"door": "up", "engine": "theirs"}
    assert answer.left_alone == ["engine was changed by somebody; it was left so"]
    assert answer.left_alone == answer.to_json()["said"]


def test_another_drill_is_refused_by_name_both_ways(host: ServiceHost) -> None:
    host.drain("d1")
    with pytest.raises(Refused, match=r"This host is drained for the drill d1 .bob, .*: a drill., and this is d2"):
        host.drain("d2")
    with pytest.raises(Refused, match=r"drained for the drill d1 .*, and not for d2"):
        host.give_back("d2")
    assert host.look() == DOWN


def test_the_same_drill_with_other_things_is_refused(host: ServiceHost) -> None:
    host.drain("d1")
    with pytest.raises(Refused, match="has drained this host of other things already"):
        host.drain("d1", units=("other.service",))
    assert host.look() == DOWN


@pytest.mark.parametrize("breaks", ["prior", "take"])
def test_a_drain_that_cannot_have_all_puts_back_what_it_took(host: ServiceHost, breaks: str) -> None:
    host.breaks = {"engine": breaks}
    with pytest.raises(AgentError) as failed:
        host.drain()
    assert host.look() == UP
    assert ("What was taken is put back." in str(failed.value)) == (breaks == "take")
    host.breaks = {}
    assert host.give_back().to_json()["changed"] is False


def test_users_are_not_let_in_where_something_behind_the_door_does_not_come_back(host: ServiceHost) -> None:
    host.drain()
    host.breaks = {"engine": "put_back"}
    with pytest.raises(Unverified, match=r"engine does not come back. The host is not back in service"):
        host.give_back()
    assert host.look() == DOWN
    host.breaks = {}
    host.give_back()
    assert host.look() == UP


def test_a_drain_that_can_neither_have_all_nor_put_it_back_says_so_and_the_return_goes_on(host: ServiceHost) -> None:
    host.breaks = {"engine": "take", "door": "put_back"}
    with pytest.raises(AgentError, match="could not all be put back, so the host is not in service"):
        host.drain()
    host.breaks = {}
    host.give_back()
    assert host.look() == UP


@pytest.mark.parametrize("verb", ["drain", "give_back", "quarantine", "release"])
def test_a_check_touches_nothing_and_says_what_the_run_then_does(host: ServiceHost, verb: str) -> None:
    if verb != "drain":
        host.drain()
    if verb == "release":
        host.quarantine()
    host.desk().halted()  # whatever the agent's own list writes is there
    before = _files(host.agent.folder)
    said = getattr(host, verb)(check=True).to_json()
    assert _files(host.agent.folder) == before
    done = getattr(host, verb)().to_json()
    for key in ("state", "changed", "before", "after", "left_alone"):
        assert said[key] == done[key], key
    assert said["changed"] is True
    assert getattr(host, verb)(check=True).to_json()["changed"] is False


def test_a_check_tells_what_would_be_left_alone(host: ServiceHost) -> None:
    host.drain()
    host.path("engine").write_text("theirs")
    said = host.give_back(check=True)
    assert said.left_alone == ["engine was changed by somebody; it was left so"]
    assert said.after["engine"] == "theirs"


def test_an_open_lease_refuses_a_drain_and_a_return(host: ServiceHost) -> None:
    host.agent.apply()
    with pytest.raises(
        Refused, match=r"Leases are open on this host: l1 .test.file.set, active.. A host is drained before"
    ):
        host.drain()
    host.agent.undo()
    host.drain()
    host.agent.apply(lease="l2")
    with pytest.raises(Refused, match="A host with a fault on it is not given back"):
        host.give_back()
    assert host.look() == DOWN


def test_a_record_that_was_damaged_is_not_executed_and_is_told(host: ServiceHost) -> None:
    host.drain()
    path = host.agent.home / "service" / "state"
    path.write_bytes(path.read_bytes().replace(b'"text":"up"', b'"text":"xx"', 1))
    for way in (host.drain, host.give_back):
        with pytest.raises(AgentError, match="is damaged"):
            way()
    assert host.look() == DOWN
    record, word, said = host.desk().seen()
    assert (record, word) == (None, "unknown")
    assert "Nothing of it is executed" in said[0]


def test_each_drain_and_return_is_in_the_history(host: ServiceHost) -> None:
    host.drain()
    host.give_back()
    text = (host.agent.home / "service" / "history.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["verb"], line["drill"]) for line in lines] == [
        ("drain", "d1"),
        ("return", "d1"),
    ]


def test_a_drain_of_nothing_marks_the_host(host: ServiceHost) -> None:
    assert host.order("d1").wanted == Wanted()
    host.drain()
    assert host.desk().seen()[1] == "drained"
