# SPDX-License-Identifier: Apache-2.0
"""The action `chaosgpu_agent` by a real ansible-playbook, with its policy in a folder: compared, replaced, refused."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from unit.playbooks.conftest import PLAYBOOKS, Play, Played

_POLICY = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 600}
_HOLDS = """\
#!/bin/sh
cat > /dev/null
echo '{answer}'
"""


@pytest.fixture
def put(play: Play, tmp_path: Path, agent: Path) -> Any:
    """Play the action alone, with its policy's place inside the test's folder."""
    plugins = tmp_path / "action_plugins"
    plugins.mkdir()
    text = (PLAYBOOKS / "action_plugins/chaosgpu_agent.py").read_text()
    place = tmp_path / "etc/policy.json"
    assert text.count('_POLICY = "/etc/chaosgpu/policy.json"') == 1
    (plugins / "chaosgpu_agent.py").write_text(text.replace("/etc/chaosgpu/policy.json", str(place)))

    def run(*options: str, **arguments: Any) -> Played:
        task = {"name": "Put", "chaosgpu_agent": {"file": str(agent), **arguments}, "register": "found"}
        tasks = [task, {"name": "Tell", "debug": {"var": "found"}}]
        return play(tasks, "--limit", "gpu1", *options, chaosgpu_agent_path=str(tmp_path / "there/agent.pyz"))

    return run


def _there(folder: Path) -> Path:
    return folder / "there/agent.pyz"


def test_an_agent_is_put_there_once_and_only_looking_first_touches_nothing(
    put: Any, tmp_path: Path, agent: Path
) -> None:
    looked = put("--check", "--diff", policy=_POLICY)
    assert (looked.status, looked.counts("gpu1")["changed"]) == (0, 1), looked.said
    assert not _there(tmp_path).exists()
    assert not (tmp_path / "etc").exists()
    digest = hashlib.sha256(agent.read_bytes()).hexdigest()
    assert f"+{_there(tmp_path)} 0 0 755 {digest}" in looked.stdout
    done = put(policy=_POLICY)
    assert (done.status, done.counts("gpu1")["changed"]) == (0, 1), done.said
    assert _there(tmp_path).read_bytes() == agent.read_bytes()
    about = _there(tmp_path).stat()
    assert (about.st_uid, about.st_mode & 0o777) == (0, 0o755)
    assert json.loads((tmp_path / "etc/policy.json").read_text()) == _POLICY
    again = put(policy=_POLICY)
    assert (again.status, again.counts("gpu1")["changed"]) == (0, 0), again.said
    _there(tmp_path).chmod(0o777)  # anybody could write it
    assert put().counts("gpu1")["changed"] == 1
    assert _there(tmp_path).stat().st_mode & 0o777 == 0o755


def test_another_policy_is_a_persons_and_is_replaced_only_on_demand(put: Any, tmp_path: Path) -> None:
    place = tmp_path / "etc/policy.json"
    place.parent.mkdir()
    place.write_text('{"version": 1, "permit": [], "max_duration_s": 1}')
    refused = put(policy=_POLICY)
    assert f"{place} is there and says something else, so it is not replaced" in refused.said
    assert not _there(tmp_path).exists()
    place.write_text("torn")
    assert "says something else" in put(policy=_POLICY).said
    assert put(policy=_POLICY, replace=True).status == 0
    assert json.loads(place.read_text()) == _POLICY
    place.write_text(json.dumps(_POLICY))  # the same in another form
    assert put(policy=_POLICY).counts("gpu1")["changed"] == 0


def test_a_policy_that_the_agent_would_not_take_is_refused_before_anything_is_touched(put: Any, tmp_path: Path) -> None:
    played = put(policy={**_POLICY, "permitt": ["*"]})
    assert played.status == 2
    assert "the policy has no parameter permitt" in played.said
    assert not _there(tmp_path).exists()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"leases": [{"lease": "r1-a"}]}, "holds r1-a, so it is not replaced: undo that first"),
        ({"nothing": 1}, "cannot be asked whether it holds a lease"),
    ],
    ids=["holds", "torn"],
)
def test_an_agent_that_holds_a_lease_or_cannot_be_asked_is_not_replaced(
    put: Any, tmp_path: Path, answer: dict[str, Any], sentence: str
) -> None:
    _there(tmp_path).parent.mkdir()
    _there(tmp_path).write_text(_HOLDS.format(answer=json.dumps(answer)))
    _there(tmp_path).chmod(0o755)
    before = _there(tmp_path).read_text()
    played = put()
    assert played.status == 2
    assert sentence in played.said
    assert _there(tmp_path).read_text() == before


def test_an_agent_that_holds_nothing_is_replaced(put: Any, tmp_path: Path, agent: Path) -> None:
    _there(tmp_path).parent.mkdir()
    _there(tmp_path).write_text(_HOLDS.format(answer='{"leases": []}'))
    _there(tmp_path).chmod(0o755)
    assert put().status == 0
    assert _there(tmp_path).read_bytes() == agent.read_bytes()


def test_a_host_without_a_python_is_not_touched(put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")  # as one of 3.6
    (programs / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    played = put()
    assert "the host has no Python of 3.9 or later as python3; nothing was touched" in played.said
    assert not _there(tmp_path).exists()


def test_a_file_that_is_not_there_is_told(put: Any) -> None:
    assert "chaosgpu_agent_file is /nowhere, and there is no such file here" in put(file="/nowhere").said
