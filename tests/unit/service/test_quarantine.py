# SPDX-License-Identifier: Apache-2.0
"""A host in quarantine takes no work and no faults, tells whoever logs in, and is released by a named person alone."""

import json

import pytest

from chaosgpu.agent.errors import AgentError, Refused
from chaosgpu.agent.service.quarantine import refuse_quarantined
from chaosgpu.agent.service.status import status
from support.service_desk import KINDS, ServiceHost

DOWN = dict.fromkeys(KINDS, "down")


def test_a_quarantined_host_stays_drained_and_refuses_faults_until_it_is_released(host: ServiceHost) -> None:
    host.drain()
    answer = host.quarantine()
    assert (answer.state, answer.more["drained"]) == ("quarantined", True)
    refused = host.agent.apply()["error"]
    assert refused["kind"] == "halted"
    assert "quarantined after the drill d1: broken" in refused["message"]
    with pytest.raises(Refused, match=r"This host is quarantined since .* by bob after the drill d1: broken"):
        refuse_quarantined(host.desk())
    host.release()
    refuse_quarantined(host.desk())
    assert host.look() == DOWN
    assert host.agent.apply(lease="l2")["state"] == "active"
    host.agent.undo("l2")
    host.give_back()
    assert host.look() == dict.fromkeys(KINDS, "up")


def test_the_mark_and_the_line_at_login_say_who_why_and_what_is_different(host: ServiceHost) -> None:
    host.drain()
    host.quarantine(reason="it did not come back")
    mark = json.loads((host.agent.home / "service" / "QUARANTINE").read_text())
    assert (mark["drill"], mark["by"], mark["reason"]) == ("d1", "bob", "it did not come back")
    assert mark["differences"] == ["libcuda is 580"]
    shown = (host.agent.home / "motd").read_text()
    assert f"THIS HOST IS QUARANTINED since {mark['at']}, by bob." in shown
    assert "It did not come back from the drill d1: it did not come back\n  - libcuda is 580\n" in shown


def test_a_fault_in_force_is_undone_by_it(host: ServiceHost) -> None:
    host.agent.apply()
    host.quarantine()
    assert not host.agent.broken()


def test_a_host_that_a_return_has_put_back_in_part_is_taken_out_again(host: ServiceHost) -> None:
    host.drain()
    host.breaks = {"door": "put_back"}
    with pytest.raises(AgentError, match="door does not come back"):
        host.give_back()
    assert host.look() == {"door": "down", "engine": "up"}
    assert host.quarantine().more["drained"] is True
    assert host.look() == DOWN


def test_one_that_was_not_drained_is_drained_of_what_is_named_or_told_to_be_in_service(host: ServiceHost) -> None:
    answer = host.quarantine()
    assert answer.more["drained"] is False
    assert "it is marked and halted, and in service" in answer.said[0]
    host.release()
    assert host.quarantine(units=("x.service",)).more["drained"] is True
    assert host.look() == DOWN


def test_what_cannot_be_drained_does_not_keep_the_mark_away(host: ServiceHost) -> None:
    host.breaks = {"engine": "take"}
    answer = host.quarantine(units=("x.service",))
    assert answer.said[0].startswith("It is not all out of service: engine does not go down.")
    assert host.agent.apply()["error"]["kind"] == "halted"


def test_the_first_mark_is_kept(host: ServiceHost) -> None:
    host.drain()
    host.quarantine(reason="first")
    again = host.quarantine(reason="second")
    assert again.to_json()["changed"] is False
    assert "that mark is kept" in again.said[0]
    assert "first" in (host.agent.home / "motd").read_text()


def test_a_halt_of_somebody_else_is_not_taken_away_by_a_release(host: ServiceHost) -> None:
    host.drain()
    host.agent.ask("halt", by="eve", reason="pager")
    assert "The host was halted already" in host.quarantine().said[0]
    answer = host.release()
    assert answer.left_alone == ["The host was halted by eve (pager); that was left so."]
    assert host.agent.apply()["error"]["kind"] == "halted"


def test_a_halt_that_somebody_resumed_is_told_and_a_second_quarantine_halts_again(host: ServiceHost) -> None:
    host.drain()
    host.quarantine()
    host.agent.ask("resume", by="eve", reason="I know better")
    assert any("somebody has resumed it" in line for line in status(host.desk(), host.things).said)
    assert host.quarantine().to_json()["changed"] is True
    assert host.agent.apply()["error"]["kind"] == "halted"


@pytest.mark.parametrize("left", ["quarantine", "QUARANTINE"])
def test_any_of_facts_and_file_alone_is_a_quarantine(host: ServiceHost, left: str) -> None:
    host.drain()
    host.quarantine()
    gone = {"quarantine": "QUARANTINE", "QUARANTINE": "quarantine"}[left]
    (host.agent.home / "service" / gone).unlink()
    with pytest.raises(Refused, match="This host is quarantined"):
        refuse_quarantined(host.desk())


def test_facts_that_were_damaged_are_a_quarantine_too(host: ServiceHost) -> None:
    host.drain()
    host.quarantine()
    path = host.agent.home / "service" / "quarantine"
    path.write_bytes(path.read_bytes().replace(b"broken", b"mended"))
    with pytest.raises(Refused, match="the facts cannot be trusted"):
        refuse_quarantined(host.desk())


def test_a_drain_record_that_was_damaged_does_not_keep_a_host_out_of_quarantine(host: ServiceHost) -> None:
    host.drain()
    (host.agent.home / "service" / "state").write_bytes(b"torn")
    answer = host.quarantine()
    assert "Nothing of it is executed" in answer.said[0]
    assert host.agent.apply()["error"]["kind"] == "halted"


def test_status_tells_how_the_host_stands_and_changes_nothing(host: ServiceHost) -> None:
    assert status(host.desk(), host.things).to_json()["state"] == "in service"
    host.drain()
    told = status(host.desk(), host.things).to_json()
    assert (told["state"], told["drill"], told["changed"]) == ("drained", "d1", False)
    assert told["after"] == "door: down\nengine: down\nhost: drained\n"
    host.quarantine()
    assert status(host.desk(), host.things).to_json()["state"] == "quarantined"
