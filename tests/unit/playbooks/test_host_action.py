# SPDX-License-Identifier: Apache-2.0
"""The action `chaosgpu_host`, by a real ansible-playbook: what is carried, what comes back, and each way to fail."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from unit.playbooks.conftest import Play

# Tells what it was asked, and answers with what the test has put beside it.
_ECHO = """\
#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(sys.argv[0]).parent
with (here / "asked").open("a") as file:
    file.write(json.dumps([sys.argv[1:], json.loads(sys.stdin.read())]) + "\\n")
print((here / "answer").read_text())
"""


def _task(**arguments: Any) -> list[dict[str, Any]]:
    return [{"name": "Ask", "chaosgpu_host": arguments, "register": "found"}, {"debug": {"var": "found"}}]


def _echo(folder: Path, answer: dict[str, Any]) -> Path:
    path = folder / "agent.pyz"
    path.write_text(_ECHO)
    path.chmod(0o755)
    (folder / "answer").write_text(json.dumps(answer))
    return path


def _asked(folder: Path) -> list[Any]:
    path = folder / "asked"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_room_gets_its_verb_and_the_request_with_its_deadline_and_the_change_is_told(
    play: Play, tmp_path: Path
) -> None:
    path = _echo(tmp_path, {"changed": True, "before": "old", "after": "new"})
    task = _task(room="packages", verb="snapshot", request={"drill": "d"}, within_s=40)
    named = {"chaosgpu_agent_path": "{{ where }}/agent.pyz", "where": str(path.parent), "awx_user_name": "ann"}
    played = play(task, "--diff", "--limit", "gpu1", **named)
    assert played.status == 0, played.said
    [[words, request]] = _asked(tmp_path)
    assert words == ["packages", "snapshot"]
    assert request == {"drill": "d", "protocol": 1, "deadline_s": 40.0, "operator": "ann"}
    assert played.counts("gpu1")["changed"] == 1
    assert "-old\n+new\n" in played.stdout


def test_a_fault_takes_the_drills_change_and_approval_along_and_a_way_back_has_no_deadline(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _echo(tmp_path, {"changed": True})
    approval = {"statement": "{}", "signatures": []}
    (tmp_path / "approval.json").write_text(json.dumps(approval))
    monkeypatch.setenv("CHAOSGPU_APPROVAL", str(tmp_path / "approval.json"))
    monkeypatch.setenv("CHAOSGPU_CHANGE_TICKET", "CHG-7")
    tasks = [*_task(verb="apply", request={"lease": "a"}, within_s=40), *_task(verb="undo", request={"lease": "a"})]
    played = play(tasks, "--limit", "gpu1", chaosgpu_agent_path=str(path), awx_user_name="ann")
    assert played.status == 0, played.said
    common = {"lease": "a", "protocol": 1, "operator": "ann", "change_id": "CHG-7"}
    assert [request for _, request in _asked(tmp_path)] == [
        {**common, "deadline_s": 40.0, "approval": approval},
        common,
    ]
    monkeypatch.setenv("CHAOSGPU_CHANGE_TICKET", "no name")
    played = play(_task(verb="undo", request={"lease": "a"}), "--limit", "gpu1", chaosgpu_agent_path=str(path))
    assert "change_id" not in _asked(tmp_path).pop()[1], played.said
    (tmp_path / "asked").unlink()
    (tmp_path / "approval.json").write_text("{")
    played = play(tasks, "--limit", "gpu1", chaosgpu_agent_path=str(path))
    assert "(CHAOSGPU_APPROVAL) cannot be read" in played.said
    assert _asked(tmp_path) == []


def test_in_check_mode_a_room_is_asked_to_touch_nothing_and_the_agents_own_verb_is_not_asked(
    play: Play, tmp_path: Path
) -> None:
    path = _echo(tmp_path, {"changed": True})
    task = _task(room="packages", verb="guard", request={"packages": {}})
    played = play(task, "--check", "--limit", "gpu1", chaosgpu_agent_path=str(path))
    assert [request["check"] for _, request in _asked(tmp_path)] == [True], played.said
    played = play(
        _task(verb="undo", request={"lease": "a"}), "--check", "--limit", "gpu1", chaosgpu_agent_path=str(path)
    )
    assert len(_asked(tmp_path)) == 1
    assert played.counts("gpu1")["changed"] == 1


def test_a_verb_that_only_reads_is_asked_in_check_mode_as_ever_and_is_no_change(play: Play, tmp_path: Path) -> None:
    path = _echo(tmp_path, {"changed": True})
    task = _task(room="packages", verb="gaps", changes=False)
    played = play(task, "--check", "--limit", "gpu1", chaosgpu_agent_path=str(path))
    [[words, request]] = _asked(tmp_path)
    assert words == ["packages", "gaps"]
    assert "check" not in request
    assert played.counts("gpu1")["changed"] == 0


def test_the_agents_own_error_fails_the_task_with_its_sentence(play: Play, agent: Path) -> None:
    task = _task(room="packages", verb="gaps", changes=False)
    played = play(task, "--limit", "gpu1", chaosgpu_agent_path=str(agent))
    assert played.status == 2
    assert "packages names no package; nothing is meant by default." in played.said


def test_a_verb_that_is_not_done_in_time_says_so(play: Play, tmp_path: Path) -> None:
    (tmp_path / "agent.pyz").write_text("#!/bin/sh\nexec sleep 30.125\n")
    (tmp_path / "agent.pyz").chmod(0o755)
    played = play(_task(verb="list", within_s=1), "--limit", "gpu1", chaosgpu_agent_path=str(tmp_path / "agent.pyz"))
    assert "The agent did not end `list` within 1 s and was ended" in played.said


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (None, "There is no agent at /.*/agent.pyz: play provision.yml on this host first"),
        ("#!/nowhere/python3\n", "The agent could not be started: .*It needs a Python of 3.9 or later"),
        ("#!/bin/sh\necho torn; exit 3\n", "`list` gave no answer .exit status 3.: torn"),
    ],
    ids=["none", "no Python", "torn"],
)
def test_no_answer_has_a_reason(play: Play, tmp_path: Path, program: str | None, sentence: str) -> None:
    if program is not None:
        (tmp_path / "agent.pyz").write_text(program)
        (tmp_path / "agent.pyz").chmod(0o755)
    played = play(_task(verb="list"), "--limit", "gpu1", chaosgpu_agent_path=str(tmp_path / "agent.pyz"))
    assert played.status == 2
    assert re.search(sentence, played.said), played.said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"verb": "list; reboot"}, "verb is one word"),
        ({"verb": "list", "room": "cellar"}, "room is one of agent, packages, service"),
        ({"verb": "list", "within_s": "soon"}, "within_s is a number of seconds"),
        ({"verb": "list", "words": 1}, "Invalid options for chaosgpu_host: words"),
    ],
    ids=["verb", "room", "deadline", "unknown"],
)
def test_a_wrong_argument_is_refused_before_anything_is_carried(
    play: Play, tmp_path: Path, arguments: dict[str, Any], sentence: str
) -> None:
    path = _echo(tmp_path, {})
    played = play(_task(**arguments), "--limit", "gpu1", chaosgpu_agent_path=str(path))
    assert sentence in played.said
    assert _asked(tmp_path) == []
