# SPDX-License-Identifier: Apache-2.0
"""The change and the approval that a run goes by: in its record, and with each fault to the host that judges it."""

import json
from pathlib import Path

import pytest

from chaosgpu.fleet.ask import change_id
from support.chaos import Played, experiment, play, python

METHOD = [python("break it", "break_it")]


def _refused(played: Played) -> str:
    assert played.status == 1
    assert "lease.reserved" not in played.types
    assert not played.broken
    return played.verdict[1]


def test_the_change_is_in_the_record_before_the_first_fault(tmp_path: Path) -> None:
    played = play(tmp_path, experiment(METHOD), CHAOSGPU_CHANGE_TICKET="CHG-1042")
    assert played.verdict[0] == "passed"
    assert (played.ledger[0]["type"], played.ledger[0]["change_id"]) == ("run.planned", "CHG-1042")


def test_without_one_the_record_says_nothing_of_it(tmp_path: Path) -> None:
    assert "change_id" not in play(tmp_path, experiment(METHOD)).ledger[0]


def test_a_change_that_is_no_name_is_refused_by_the_run_and_keeps_nothing_from_being_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSGPU_CHANGE_TICKET", "CHG 1042")
    assert "must be a change's name of up to 60 signs" in _refused(play(tmp_path, experiment(METHOD)))
    assert change_id() is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "could not be read: No such file"), ("{", "is not JSON"), ("[]", "must be an object with statement")],
)
def test_an_approval_that_cannot_be_read_is_refused_before_a_host_is_asked(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    path = tmp_path / "approval.json"
    if content is not None:
        path.write_text(content)
    assert sentence in _refused(play(tmp_path, experiment(METHOD), CHAOSGPU_APPROVAL=str(path)))


def test_a_host_is_given_the_approval_and_the_change_with_the_fault(tmp_path: Path) -> None:
    approval = {"statement": "{}", "signatures": []}
    path = tmp_path / "approval.json"
    path.write_text(json.dumps(approval))
    given = {"CHAOSGPU_APPROVAL": str(path), "CHAOSGPU_CHANGE_TICKET": "CHG-1042"}
    played = play(tmp_path, experiment(METHOD), **given)
    assert played.verdict[0] == "passed"
    [lease] = json.loads((tmp_path / "agent/leases.json").read_text()).values()
    assert (lease["approval"], lease["change_id"]) == (approval, "CHG-1042")
    active = next(entry for entry in played.ledger if entry["type"] == "lease.active")
    assert active["granted"] == {"change_id": "CHG-1042"}
