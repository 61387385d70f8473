# SPDX-License-Identifier: Apache-2.0
"""One fault in, proved, out: with a setting and with a holder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chaosgpu.agent
from chaosgpu.agent.process import alive
from support.agent_host import FILE, LOCK, AgentHost, wait_until


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_a_fault_is_applied_proved_and_undone(host: AgentHost, fault: str) -> None:
    answer = host.apply(fault)
    assert answer["state"] == "active"
    assert answer["observed"]
    assert 19 < answer["expires_in_s"] <= 20
    assert host.broken()
    assert len(host.keepers()) == 1
    line = host.undo()
    assert (line["state"], line["ended_by"], line["reason"]) == ("clean", "undo", None)
    wait_until(lambda: not host.residue())


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_undo_again_changes_nothing(host: AgentHost, fault: str) -> None:
    host.apply(fault)
    first = host.undo()
    assert host.undo() == first
    host.file.write_text("a person's own")
    assert host.undo() == first
    assert host.file.read_text() == "a person's own"


def test_the_states_are_passed_in_order_with_the_hosts_two_clocks(host: AgentHost) -> None:
    host.apply(LOCK)
    host.undo()
    record = host.ask("record", lease="l1")
    assert [line["state"] for line in record["history"]] == ["reserved", "armed", "active", "reverting", "clean"]
    stamps = [line["boottime_s"] for line in record["history"]]
    assert stamps == sorted(stamps)
    assert all(line["at"].endswith("Z") for line in record["history"])
    assert record["history"][-1]["ended_by"] == "undo"
    assert record["undo"]["environment"]["CHAOSGPU_AGENT_HOME"] == str(host.home)


def test_undo_of_an_unknown_lease_leaves_a_tombstone_that_a_late_apply_obeys(host: AgentHost) -> None:
    assert host.undo("late")["state"] == "tombstone"
    answer = host.apply(lease="late")
    assert answer["error"]["kind"] == "refused"
    assert answer["error"]["lease"] == "late"
    assert not host.residue()
    assert host.apply(lease="other")["state"] == "active"  # the control: without a tombstone it is applied


def test_the_same_id_again_returns_the_existing_lease(host: AgentHost) -> None:
    first = host.apply()
    again = host.apply()
    assert again["state"] == "active"
    assert again["observed"] == first["observed"]
    assert len(host.keepers()) == 1


@pytest.mark.parametrize("change", [{"value": "other"}, {"ttl_s": 21}, {"run": "r2"}, {"fault": LOCK}])
def test_the_same_id_with_other_parameters_is_refused(host: AgentHost, change: dict[str, Any]) -> None:
    host.apply()
    answer = host.apply(**change)
    assert answer["error"]["kind"] == "refused"
    assert "other parameters" in answer["error"]["message"]
    assert host.state().state == "active"


def test_an_undone_id_is_never_applied_again(host: AgentHost) -> None:
    host.apply()
    host.undo()
    assert host.apply()["error"]["kind"] == "refused"
    assert not host.broken()


def test_the_agent_makes_an_id_where_there_is_none(host: AgentHost) -> None:
    order = host.order()
    del order["lease"]
    answer = host.ask("apply", **order)
    assert host.undo(answer["lease"])["state"] == "clean"


@pytest.mark.parametrize(
    ("breaks", "kind", "ended_by"),
    [
        ("capture:fail", "driver", "refused"),
        ("capture:mistake", "internal", "refused"),
        ("inject:fail", "driver", "unverified"),
        ("inject:hang", "driver_hung", "unverified"),
        ("inject:mistake", "internal", "unverified"),
        ("verify:unverified", "unverified", "unverified"),
        ("verify:mistake", "internal", "unverified"),
    ],
)
def test_a_step_that_fails_is_told_and_everything_is_put_back(
    host: AgentHost, breaks: str, kind: str, ended_by: str
) -> None:
    answer = host.apply(breaks=breaks)
    assert answer["error"]["kind"] == kind
    assert answer["error"]["lease"] == "l1"
    state = host.state()
    assert (state.state, state.ended_by) == ("clean", ended_by)
    wait_until(lambda: not host.residue())


def test_a_check_that_refuses_leaves_no_trace(host: AgentHost) -> None:
    host.file.write_text("broken")
    assert host.apply()["error"]["kind"] == "no_effect"
    assert host.ask("list", run="r1")["leases"] == []
    assert not host.claims()


@pytest.mark.parametrize(
    ("breaks", "kind", "words"),
    [
        ("prepare:refuse", "no_effect", "no sense"),
        ("prepare:die", "refused", "ended before it was ready"),
        ("role", "bad_request", "no holder 'nobody'"),
    ],
)
def test_a_holder_that_is_not_ready_is_no_fault(host: AgentHost, breaks: str, kind: str, words: str) -> None:
    answer = host.apply(LOCK, breaks=breaks)
    assert answer["error"]["kind"] == kind
    assert words in answer["error"]["message"]
    wait_until(lambda: not host.residue())


def test_a_deaf_holder_is_killed_and_nothing_is_left(host: AgentHost) -> None:
    host.apply(LOCK, breaks="deaf")
    [holder] = host.holders()
    assert host.undo()["state"] == "clean"
    assert not alive(holder)


@pytest.mark.parametrize("breaks", ["undo:fail", "undo:hang", "undo:mistake", "restored:fail"])
def test_an_undo_that_fails_is_stuck_and_only_an_explicit_undo_that_verifies_ends_it(
    host: AgentHost, breaks: str, tmp_path: Path
) -> None:
    well_again = tmp_path / "well again"
    host.apply(breaks=breaks, until=str(well_again))
    line = host.undo()
    assert line["state"] == "stuck"
    assert "by hand" in line["reason"]
    assert host.claims()
    well_again.write_text("")
    assert host.ask("sweep")["leases"][0]["state"] == "stuck"
    assert host.apply(lease="l2")["error"]["kind"] == "claimed"
    assert host.undo()["state"] == "clean"
    wait_until(lambda: not host.residue())


def test_an_undo_that_says_it_worked_and_did_nothing_is_stuck(host: AgentHost) -> None:
    host.apply()
    host.file.chmod(0o600)
    folder = host.lease_folder()
    undo = folder.undo_record()
    assert undo is not None
    # What was captured is the broken value itself: undo writes it, and reading back finds the fault in force.
    (host.home / "leases/l1/undo").unlink()
    folder.write_undo(type(undo)(**{**vars(undo), "prior": {"text": "broken"}}))
    line = host.undo()
    assert line["state"] == "stuck"
    assert line["reason"]


def test_what_a_person_changed_meanwhile_is_left_alone_and_told(host: AgentHost) -> None:
    host.apply()
    host.file.write_text("a person's own")
    line = host.undo()
    assert (line["state"], line["left_alone"]) == ("clean", [str(host.file)])
    assert host.file.read_text() == "a person's own"


def test_undo_of_a_run_and_of_all_answers_every_lease(host: AgentHost, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("well")
    host.apply(lease="a", run="r1")
    host.ask("apply", **{**host.order(lease="b", run="r2"), "params": {"path": str(other)}})
    assert [line["lease"] for line in host.ask("undo", run="r2")["leases"]] == ["b"]
    assert host.state("a").state == "active"
    assert [line["lease"] for line in host.ask("undo", all=True)["leases"]] == ["a"]
    assert not host.claims()


@pytest.mark.parametrize("request_", [{}, {"run": "r", "all": True}, {"lease": "../x"}, {"all": False}])
def test_undo_never_guesses_what_is_meant(host: AgentHost, request_: dict[str, object]) -> None:
    host.apply()
    assert host.ask("undo", **request_)["error"]["kind"] == "bad_request"
    assert host.state().state == "active"


def test_list_verifies_again_and_does_not_call_a_lost_fault_active(host: AgentHost) -> None:
    host.apply()
    assert host.ask("list", run="r1")["leases"][0]["verified"] is None
    assert host.ask("list", run="r1", verify=True)["leases"][0]["verified"] is True
    host.file.write_text("well")
    [line] = host.ask("list", run="r1", verify=True)["leases"]
    assert (line["state"], line["verified"]) == ("active", False)
    assert "not broken" in line["reason"]


def test_list_shows_ended_leases_of_a_run_and_otherwise_only_open_ones(host: AgentHost) -> None:
    host.apply()
    host.undo()
    assert [line["state"] for line in host.ask("list", run="r1")["leases"]] == ["clean"]
    assert host.ask("list")["leases"] == []


def test_a_result_too_large_for_its_slot_is_shortened_and_not_lost(host: AgentHost) -> None:
    assert host.apply(value="x" * 9000)["state"] == "active"
    assert "too_large_bytes" in host.state().observed
    assert host.undo()["state"] == "clean"


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_without_a_keeper_nothing_is_injected(host: AgentHost, fault: str) -> None:
    order = {"protocol": 1, **host.order(fault)}
    answer = host.tell("apply", order, command=("/bin/false",))
    assert answer["error"]["kind"] == "refused"
    assert host.state().state == "clean"
    assert not host.residue()
    assert host.apply(fault, lease="l2")["state"] == "active"  # the control: with one it is


def test_the_agent_starts_without_what_it_does_not_need() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import chaosgpu.agent.main; print(*sys.modules)"
    root = Path(chaosgpu.agent.__file__).parents[2]
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], capture_output=True, check=True, timeout=20)
    heavy = {b"subprocess", b"socket", b"logging", b"pathlib", b"pynvml", b"threading", b"ctypes", b"asyncio"}
    assert not heavy & set(loaded.stdout.split())
