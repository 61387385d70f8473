# SPDX-License-Identifier: Apache-2.0
"""The actions of the fleet in real `chaos run`s: what they did is put back, and what nothing undoes is said."""

import signal
from pathlib import Path
from typing import Any

import pytest

from support.around import BEFORE, LONGEST_S, PLAYBOOKS, Host, play, recover
from support.chaos import Chaos, Played, experiment, python

pytestmark = pytest.mark.timeout(1800)
ACTIONS = "chaosgpu.fleet.actions"
CONFIGURATION = {"chaosgpu_playbooks": str(PLAYBOOKS)}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def _write(folder: Path, name: str, command: str) -> str:
    task = f"    - ansible.builtin.command: {command}\n"
    (folder / name).write_text(f"- hosts: all\n  gather_facts: false\n  tasks:\n{task}")
    return name


def _own(folder: Path, **arguments: Any) -> dict[str, Any]:
    given = {"playbook": _write(folder, "break.yml", "touch {{ playbook_dir }}/was-broken"), **arguments}
    return python("a playbook", "run_playbook", module=ACTIONS, **given)


def _run(method: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return experiment(method, **{"configuration": CONFIGURATION, **changes})


def test_a_playbook_of_a_users_own_is_undone_by_its_undo_playbook_on_the_same_host(host: Host, tmp_path: Path) -> None:
    undo = _write(tmp_path, "mend.yml", "mv {{ playbook_dir }}/was-broken {{ playbook_dir }}/mended-{{ word }}")
    played = play(tmp_path, _run([_own(tmp_path, undo_playbook=undo, variables={"word": "well"})]))
    assert (played.status, played.verdict[0]) == (0, "passed"), played.said
    assert played.verdict[1].startswith("the steady state held under break.yml, and everything was put back")
    assert ((tmp_path / "was-broken").exists(), (tmp_path / "mended-well").exists()) == (False, True)
    begun, done, undone = [line for line in played.ledger if line["type"].startswith("playbook.")]
    assert (begun["undo_playbook"], begun["no_undo"]) == (str(tmp_path / "mend.yml"), False)
    assert (done["hosts"]["localhost"]["how"], undone["undo"]) == ("ok", True)
    assert host.steps == []


def test_without_an_undo_it_is_refused_and_with_no_undo_the_run_proves_nothing(host: Host, tmp_path: Path) -> None:
    refused = play(tmp_path, _run([_own(tmp_path)]))
    assert not (tmp_path / "was-broken").exists()
    assert refused.verdict[0] == "inconclusive"
    assert "nothing would undo it. Name an undo_playbook" in refused.verdict[1]

    checked = play(tmp_path, _run([_own(tmp_path, check=True)]))
    assert not (tmp_path / "was-broken").exists()
    assert checked.verdict[0] == "passed"

    left = play(tmp_path, _run([_own(tmp_path, no_undo=True)]))
    assert (tmp_path / "was-broken").exists()
    assert left.verdict[0] == "inconclusive"
    assert "break.yml changed localhost and nothing undoes that, as no_undo says" in left.verdict[1]
    assert "break.yml has no undo_playbook: what it changes on localhost stays" in left.said
    assert [line["no_undo"] for line in left.ledger if line["type"] == "playbook.begun"] == [True]
    assert host.steps == []


def test_an_undo_playbook_that_fails_makes_the_run_unsafe(host: Host, tmp_path: Path) -> None:
    undo = _write(tmp_path, "mend.yml", "'false'")
    played = play(tmp_path, _run([_own(tmp_path, undo_playbook=undo)]))
    assert (played.status, played.verdict[0]) == (1, "unsafe")
    assert "localhost: what break.yml did is not undone: mend.yml failed on localhost" in played.verdict[1]
    assert host.steps == []


def test_without_the_guard_no_playbook_is_played_and_the_run_stops(host: Host, tmp_path: Path) -> None:
    played = play(tmp_path, _run([_own(tmp_path, no_undo=True)], controls=[]))
    assert (played.status, (tmp_path / "was-broken").exists()) == (1, False)
    assert host.steps == []


def test_a_drain_and_a_pin_of_the_method_are_put_back_by_undo_all(host: Host, tmp_path: Path) -> None:
    drain = python("drain", "drain", module=ACTIONS, units=["triton.service"], reason="a drill")
    pin = python("pin", "pin", module=ACTIONS, packages={"nvidia-open": "580.95.05-1"})
    played = play(tmp_path, _run([drain, pin]))
    assert (played.status, played.verdict[0]) == (0, "passed"), played.said
    assert host.steps == ["drain", "snapshot", "pin", "rollback", "verify", "return"]
    assert (host.facts, host.drained) == (BEFORE, False)
    leases = [line["type"] for line in played.ledger if line.get("fault") == "package.install"]
    assert leases == ["lease.reserved", "lease.active", "lease.reverting", "lease.clean"]
    assert played.types.count("host.returned") == 1


def test_a_killed_controller_leaves_what_recover_puts_back_from_the_record(host: Host, tmp_path: Path) -> None:
    undo = _write(tmp_path, "mend.yml", "mv {{ playbook_dir }}/was-broken {{ playbook_dir }}/mended")
    waiting = tmp_path / "waiting"
    method = [
        python("drain", "drain", module=ACTIONS, units=["triton.service"]),
        _own(tmp_path, undo_playbook=undo),
        python("wait", "wait", seconds=600, mark=str(waiting)),
    ]
    chaos = Chaos(tmp_path, _run(method))
    chaos.wait_for(waiting, LONGEST_S)
    chaos.send(signal.SIGKILL)
    chaos.finish(20)
    assert (host.drained, (tmp_path / "was-broken").exists()) == (True, True)

    recovered = recover(tmp_path)
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert (host.drained, (tmp_path / "mended").exists()) == (False, True)
    assert Played(-9, "", tmp_path).types[-1] == "run.finished"


def test_return_and_rollback_put_back_before_the_end_and_a_quarantine_is_unsafe(host: Host, tmp_path: Path) -> None:
    method = [
        python("drain", "drain", module=ACTIONS, units=["triton.service"]),
        python("nothing was pinned", "rollback", module=ACTIONS),
        python("return", "return_to_service", module=ACTIONS),
        python("quarantine", "quarantine", module=ACTIONS, reason="its answers differ"),
    ]
    played = play(tmp_path, _run(method))
    assert host.steps == ["drain", "return", "quarantine"]
    assert (host.drained, host.quarantined) == (False, "its answers differ")
    assert played.verdict[0] == "unsafe"
    assert "the experiment has put localhost into quarantine" in played.verdict[1]
