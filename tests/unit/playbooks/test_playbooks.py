# SPDX-License-Identifier: Apache-2.0
"""Each playbook by a real ansible-playbook, on hosts with a stand-in for the agent: order, check mode, what is told."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from unit.playbooks.conftest import PLAYBOOKS, Play, Played

_NAMES = ("pin", "provision", "rollback", "snapshot", "verify")
_LEASE = "lifecycle-d1-pin"
_PACKAGES = {"nvidia-open": "580.95.05-1"}
# Answers each verb with what the test has for it, and writes down what it was asked.
_AGENT = """\
#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(sys.argv[0]).parent
what, request = " ".join(sys.argv[1:]), json.loads(sys.stdin.read())
with (here / "asked").open("a") as file:
    file.write(json.dumps([what, request]) + "\\n")
answers = json.loads((here / "answers").read_text())
answer = answers[what].pop(0) if isinstance(answers[what], list) else answers[what]
(here / "answers").write_text(json.dumps(answers))
print(json.dumps(answer))
sys.exit(1 if "error" in answer else 0)
"""
_FACTS = {"gpus": [{"uuid": "GPU-1"}, {"uuid": "GPU-2"}]}
_PLAN = {"todo": True, "before": "nvidia-open 570", "after": "nvidia-open 580 hold"}
_ACTIVE: dict[str, Any] = {"lease": _LEASE, "state": "active", "ended_by": None, "reason": None, "observed": {}}
_CLEAN = _ACTIVE | {"state": "clean", "ended_by": "deadline"}


class Agent:
    """The stand-in, and what it was asked."""

    def __init__(self, folder: Path, answers: dict[str, Any]) -> None:
        self.path = folder / "agent.pyz"
        self.path.write_text(_AGENT)
        self.path.chmod(0o755)
        (folder / "answers").write_text(json.dumps(answers))

    @property
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """Return words and request of each call."""
        path = self.path.parent / "asked"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def words(self) -> list[str]:
        """Return the words alone."""
        return [what for what, _ in self.asked]


def _play(play: Play, agent: Agent, name: str, *options: str, **more: Any) -> Played:
    given = {"chaosgpu_agent_path": str(agent.path), "chaosgpu_drill": "d1", "chaosgpu_packages": _PACKAGES, **more}
    return play(name, "--limit", "gpu1", *options, **given)


@pytest.mark.parametrize("name", _NAMES)
def test_a_pattern_that_means_no_host_is_an_error_in_one_sentence(play: Play, name: str) -> None:
    played = play(name, chaosgpu_hosts="nobody", chaosgpu_drill="d1", chaosgpu_packages=_PACKAGES)
    assert played.status == 2, played.said
    assert "chaosgpu_hosts is nobody, which means no host of this inventory; nothing was touched." in played.said
    assert "chaosgpu_host:" not in played.stdout


@pytest.mark.parametrize("name", ["snapshot", "pin", "rollback"])
def test_a_drill_has_to_be_named(play: Play, tmp_path: Path, name: str) -> None:
    agent = Agent(tmp_path, {})
    played = play(name, "--limit", "gpu1", chaosgpu_agent_path=str(agent.path), chaosgpu_packages=_PACKAGES)
    assert played.status == 2
    assert "missing required arguments: chaosgpu_drill" in played.told("gpu1")["said"]
    assert agent.words == []


def test_a_snapshot_keeps_both_sides_and_the_controller_gets_the_manifest(play: Play, tmp_path: Path) -> None:
    taken = {"changed": True, "folder": "/x", "fingerprint": "f", "before": "", "after": "nvidia-open 570 -> 580"}
    agent = Agent(
        tmp_path,
        {"facts": _FACTS, "packages snapshot": [taken, taken | {"changed": False}], "packages manifest": {"drill": {}}},
    )
    record = str(tmp_path / "record")
    played = _play(play, agent, "snapshot", chaosgpu_record_dir=record)
    assert played.status == 0, played.said
    assert agent.words == ["facts", "packages snapshot", "packages manifest"]
    _, request = agent.asked[1]
    assert (request["gpus"], request["packages"], "check" in request) == (["GPU-1", "GPU-2"], _PACKAGES, False)
    told = played.told("gpu1")
    assert (told["playbook"], told["ok"], told["changed"]) == ("snapshot", True, True)
    assert told["said"] == "The snapshot of drill d1 was taken."
    assert json.loads((tmp_path / "record/d1/gpu1.json").read_text()) == {"drill": {}}
    again = _play(play, agent, "snapshot", chaosgpu_record_dir=record)
    assert again.counts("gpu1")["changed"] == 0
    assert again.told("gpu1")["said"] == "The snapshot of drill d1 is there already."


def test_only_looking_at_a_snapshot_asks_the_host_to_touch_nothing(play: Play, tmp_path: Path) -> None:
    taken = {"changed": True, "folder": "/x", "before": "", "after": "nvidia-open 570 -> 580"}
    agent = Agent(tmp_path, {"facts": _FACTS, "packages snapshot": taken})
    played = _play(play, agent, "snapshot", "--check", "--diff", chaosgpu_record_dir=str(tmp_path / "record"))
    assert played.status == 0, played.said
    assert agent.asked[1][1]["check"] is True
    assert "+nvidia-open 570 -> 580" in played.stdout
    assert played.told("gpu1")["said"] == "The snapshot of drill d1 would be taken."
    assert not (tmp_path / "record").exists()


def test_a_pin_is_a_lease_that_guards_and_ends_by_itself(play: Play, tmp_path: Path) -> None:
    answers = {
        "list": {"leases": []},
        "packages plan": _PLAN,
        "apply": {"state": "active"},
        "packages gaps": {"ok": True, "gaps": []},
    }
    agent = Agent(tmp_path, answers)
    played = _play(play, agent, "pin", "--diff", chaosgpu_within_s=700)
    assert played.status == 0, played.said
    assert agent.words == ["list", "packages plan", "apply", "packages gaps"]
    _, order = agent.asked[2]
    assert order["params"] == {"packages": _PACKAGES, "may_remove": [], "back_within_s": 900, "guard": True}
    assert (order["lease"], order["fault"], order["ttl_s"], order["max_duration_s"]) == (
        _LEASE,
        "package.install",
        700,
        700,
    )
    assert "-nvidia-open 570\n+nvidia-open 580 hold\n" in played.stdout
    told = played.told("gpu1")
    assert (told["changed"], told["lease"]) == (True, _LEASE)
    assert "the host ends it by itself within 700 s" in told["said"]


def test_a_pin_that_is_in_force_is_not_put_in_again(play: Play, tmp_path: Path) -> None:
    agent = Agent(tmp_path, {"list": {"leases": [_ACTIVE]}, "packages gaps": {"ok": True, "gaps": []}})
    played = _play(play, agent, "pin")
    assert (played.status, agent.words, played.counts("gpu1")["changed"]) == (0, ["list", "packages gaps"], 0)
    assert played.told("gpu1")["said"] == "The packages are at the versions of the lock and guarded already."


def test_a_pin_that_was_refused_may_be_tried_again_under_the_next_name(play: Play, tmp_path: Path) -> None:
    refused = _CLEAN | {"ended_by": "refused"}
    answers = {
        "list": {"leases": [refused]},
        "packages plan": _PLAN,
        "apply": {"state": "active"},
        "packages gaps": {"ok": True, "gaps": []},
    }
    agent = Agent(tmp_path, answers)
    played = _play(play, agent, "pin")
    assert (played.status, played.told("gpu1")["lease"]) == (0, f"{_LEASE}-2"), played.said
    assert agent.asked[2][1]["lease"] == f"{_LEASE}-2"


def test_only_looking_at_a_pin_puts_nothing_in(play: Play, tmp_path: Path) -> None:
    agent = Agent(tmp_path, {"list": {"leases": []}, "packages plan": _PLAN})
    played = _play(play, agent, "pin", "--check", "--diff")
    assert (played.status, agent.words) == (0, ["list", "packages plan"]), played.said
    assert played.counts("gpu1")["changed"] == 1
    assert "+nvidia-open 580 hold" in played.stdout
    assert "would be at the versions of the lock" in played.told("gpu1")["said"]


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"list": {"leases": [_CLEAN]}}, "The pin of drill d1 is clean on this host (ended by deadline)"),
        (
            {"list": {"leases": []}, "packages plan": {"error": {"message": "apt finds no way to nvidia-open=1"}}},
            "apt finds no way to nvidia-open=1",
        ),
        (
            {"list": {"leases": [_ACTIVE]}, "packages gaps": {"ok": False, "gaps": ["nvidia-open is not held"]}},
            "The packages are not as the lock has them: nvidia-open is not held.",
        ),
    ],
    ids=["ended", "no way", "gap"],
)
def test_a_pin_that_cannot_be_says_why_in_one_sentence(
    play: Play, tmp_path: Path, answers: dict[str, Any], sentence: str
) -> None:
    played = _play(play, Agent(tmp_path, answers), "pin")
    assert played.status == 2
    told = played.told("gpu1")
    assert (told["ok"], told["playbook"], told["drill"]) == (False, "pin", "d1")
    assert told["said"].startswith(sentence)


def test_a_host_that_is_not_fit_is_told_with_all_that_is_wrong(play: Play, tmp_path: Path) -> None:
    wrong = ["nvidia-open is not held", "of 2 GPUs 1 do not answer any more: GPU-2"]
    answers = {
        "facts": {"error": {"message": "NVML: driver not loaded"}},
        "packages verify": [{"ok": False, "wrong": wrong, "unknown": []}, {"ok": True, "wrong": [], "unknown": ["x"]}],
    }
    agent = Agent(tmp_path, answers)
    played = _play(play, agent, "verify")
    assert played.status == 2
    assert played.told("gpu1")["said"] == f"The host is not as the lock has it: {'; '.join(wrong)}."
    _, request = agent.asked[1]
    assert (request["gpus"], request["gpus_error"], request["drill"]) == ([], "NVML: driver not loaded", "d1")
    played = _play(play, agent, "verify", chaosgpu_against="snapshot")
    assert (played.status, played.told("gpu1")["unknown"]) == (0, ["x"])
    assert agent.asked[3][1]["against"] == "snapshot"


def test_a_rollback_ends_the_pin_and_compares(play: Play, tmp_path: Path) -> None:
    answers = {
        "list": [{"leases": [_ACTIVE]}, {"leases": [_CLEAN]}],
        "undo": {"leases": [_CLEAN]},
        "packages compare": {"as_before": True, "fingerprint": "f", "why": ""},
    }
    agent = Agent(tmp_path, answers)
    played = _play(play, agent, "rollback")
    assert (played.status, agent.words) == (0, ["list", "undo", "packages compare"]), played.said
    assert agent.asked[1][1]["lease"] == _LEASE
    told = played.told("gpu1")
    assert (told["changed"], told["as_before"], told["said"]) == (True, True, "The host is as it was before drill d1.")
    again = _play(play, agent, "rollback")
    assert (again.status, again.counts("gpu1")["changed"], agent.words[3:]) == (0, 0, ["list", "packages compare"])


def test_only_looking_at_a_rollback_undoes_nothing(play: Play, tmp_path: Path) -> None:
    agent = Agent(tmp_path, {"list": {"leases": [_ACTIVE]}})
    played = _play(play, agent, "rollback", "--check")
    assert (played.status, agent.words, played.counts("gpu1")["changed"]) == (0, ["list"], 1), played.said
    assert played.told("gpu1")["said"] == "The host would be brought back to what it was before drill d1."


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (
            {
                "list": {"leases": [_ACTIVE]},
                "undo": {"leases": [_ACTIVE | {"state": "stuck", "reason": "reboot needed: module"}]},
            },
            "The pin of drill d1 is stuck: reboot needed: module",
        ),
        (
            {"list": {"leases": []}, "packages compare": {"as_before": False, "why": "nvidia-open was 1 and is 2"}},
            "The host is not as it was before drill d1: nvidia-open was 1 and is 2",
        ),
        (
            {"list": {"leases": []}, "packages compare": {"error": {"message": "There is no snapshot of drill d1"}}},
            "There is no snapshot of drill d1",
        ),
    ],
    ids=["stuck", "different", "no snapshot"],
)
def test_a_host_that_did_not_come_back_is_told_and_never_passed_over(
    play: Play, tmp_path: Path, answers: dict[str, Any], sentence: str
) -> None:
    played = _play(play, Agent(tmp_path, answers), "rollback")
    assert (played.status, played.told("gpu1")["said"]) == (2, sentence)


def test_one_host_that_fails_does_not_keep_the_others_from_being_rolled_back(play: Play, tmp_path: Path) -> None:
    agent = Agent(tmp_path, {"list": {"leases": []}, "packages compare": {"as_before": True, "why": ""}})
    given = {"chaosgpu_drill": "d1", "chaosgpu_agent_path": f"{tmp_path}/{{{{ inventory_hostname }}}}/agent.pyz"}
    (tmp_path / "gpu2").symlink_to(agent.path.parent)
    played = play("rollback", **given)
    assert played.status == 2
    assert "There is no agent at" in played.told("gpu1")["said"]
    assert played.told("gpu2")["ok"] is True


@pytest.mark.parametrize("name", _NAMES)
def test_every_playbook_asks_for_no_facts_and_chooses_its_hosts_first(name: str) -> None:
    first, *plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
    assert first["ansible.builtin.import_playbook"] == "parts/chosen_hosts.yml"
    assert all(one["gather_facts"] is False for one in plays)
