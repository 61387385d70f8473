# SPDX-License-Identifier: Apache-2.0
"""drain, return and quarantine by a real ansible-playbook and the real agent, in a home of its own with a hook."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from unit.playbooks.conftest import PLAYBOOKS, Play, Played

_NAMES = ("drain", "return", "quarantine")
_HOOK = """\
#!/bin/sh
cat > /dev/null
echo $1 >> {log}
[ ! -e {log}.no-$1 ] || {{ echo "the pool is small" >&2; exit 1; }}
"""
_GIVEN: dict[str, Any] = {"chaosgpu_drill": "d1", "chaosgpu_reason": "autumn"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the agent a home of its own, in which its owner has put a hook."""
    folder = tmp_path / "home"
    (folder / "hooks").mkdir(parents=True)
    hook = folder / "hooks" / "balancer"
    hook.write_text(_HOOK.format(log=tmp_path / "calls"))
    hook.chmod(0o755)
    monkeypatch.setenv("CHAOSGPU_AGENT_HOME", str(folder))
    return folder


class Site:
    """What plays on one host, with what it drains."""

    def __init__(self, play: Play, agent: Path, home: Path) -> None:
        self._play, self._agent, self.home = play, agent, home
        self.calls = home.parent / "calls"

    def play(self, name: str, *options: str, **variables: Any) -> Played:
        """Play one to its end."""
        drained = {"hook": [str(self.home / "hooks" / "balancer")], "within_s": 30}
        given = {"chaosgpu_agent_path": str(self._agent), "chaosgpu_drain": drained, **_GIVEN, **variables}
        named = {key: value for key, value in given.items() if value is not None}
        return self._play(name, "--limit", "gpu1", *options, **named)

    def said(self) -> list[str]:
        """Return the words with which the hook was called, but for questions."""
        words = self.calls.read_text().split() if self.calls.exists() else []
        return [word for word in words if word != "check"]


@pytest.fixture
def site(play: Play, agent: Path, home: Path) -> Site:
    return Site(play, agent, home)


def test_a_host_is_taken_out_and_put_back_and_each_run_says_first_what_it_does(site: Site) -> None:
    for name, words in (("drain", ["drain"]), ("return", ["drain", "return"])):
        before = site.said()
        looked = site.play(name, "--check", "--diff")
        assert (looked.status, site.said()) == (0, before), looked.said
        played = site.play(name, "--diff")
        assert (played.status, site.said()) == (0, words), played.said
        assert (looked.counts("gpu1")["changed"], played.counts("gpu1")["changed"]) == (1, 1)
        told = played.told("gpu1")
        assert (told["playbook"], told["ok"], told["changed"], told["drill"]) == (name, True, True, "d1")
        shown = [line for line in played.stdout.splitlines() if line[:1] in ("+", "-")]
        assert shown == [line for line in looked.stdout.splitlines() if line[:1] in ("+", "-")]
        assert any("hook" in line for line in shown)
        again = site.play(name)
        assert (again.status, again.counts("gpu1")["changed"], site.said()) == (0, 0, words)
        assert again.told("gpu1")["said"].endswith(" already.")


def test_what_is_refused_is_told_in_one_sentence_and_nothing_is_touched(site: Site) -> None:
    Path(f"{site.calls}.no-check").touch()
    played = site.play("drain")
    assert played.status == 2
    told = played.told("gpu1")
    assert (told["playbook"], told["ok"], told["changed"]) == ("drain", False, False)
    assert told["said"].startswith("The hook said no to `check`:")
    assert told["said"].endswith("the pool is small")
    assert site.said() == []


def test_another_drills_host_is_not_given_back(site: Site) -> None:
    site.play("drain")
    played = site.play("return", chaosgpu_drill="d2")
    assert played.status == 2
    assert "and not for d2: only that drill's return gives it back." in played.told("gpu1")["said"]


def test_a_host_that_did_not_come_back_is_quarantined_once_and_not_returned(site: Site) -> None:
    site.play("drain")
    more = {"chaosgpu_reason": "it did not come back", "chaosgpu_differences": ["libcuda is 580"]}
    looked = site.play("quarantine", "--check", **more)
    assert (looked.status, (site.home / "HALT").exists()) == (0, False), looked.said
    played = site.play("quarantine", **more)
    told = played.told("gpu1")
    assert (played.status, told["ok"], told["state"], told["drained"]) == (0, True, "quarantined", True), played.said
    assert told["said"].startswith("The host is quarantined: it did not come back.")
    assert "libcuda is 580" in (site.home / "motd").read_text()
    assert site.play("quarantine", **more).counts("gpu1")["changed"] == 0
    returned = site.play("return")
    assert returned.status == 2
    assert "This host is quarantined since" in returned.told("gpu1")["said"]


def test_more_hosts_than_may_be_out_of_service_are_refused_before_any_is_touched(
    play: Play, agent: Path, home: Path
) -> None:
    given = {"chaosgpu_agent_path": str(agent), **_GIVEN}
    for most in (1, "50%"):
        played = play("drain", chaosgpu_max_unavailable=most, **given)
        assert played.status == 2
        assert f"2 hosts would be out of service, and chaosgpu_max_unavailable is {most}" in played.said
    assert not (home / "service").exists()


@pytest.mark.parametrize(
    ("name", "variables", "sentence"),
    [
        ("drain", {"chaosgpu_drill": None}, "missing required arguments: chaosgpu_drill"),
        ("drain", {"chaosgpu_drain": {"unit": ["triton"]}}, "chaosgpu_drain.unit"),
        ("quarantine", {"chaosgpu_reason": None}, "missing required arguments: chaosgpu_reason"),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(
    site: Site, name: str, variables: dict[str, Any], sentence: str
) -> None:
    played = site.play(name, **variables)
    assert played.status == 2
    assert sentence in played.told("gpu1")["said"]
    assert site.said() == []


@pytest.mark.parametrize("name", _NAMES)
def test_a_pattern_that_means_no_host_is_an_error(play: Play, name: str) -> None:
    played = play(name, chaosgpu_hosts="nobody", **_GIVEN)
    assert played.status == 2
    assert "chaosgpu_hosts is nobody, which means no host of this inventory" in played.said


def test_each_of_them_has_its_arguments_described() -> None:
    specs = yaml.safe_load((PLAYBOOKS / "roles/chaosgpu/meta/argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((PLAYBOOKS / "roles/chaosgpu/defaults/main.yml").read_text())
    for name in _NAMES:
        for option, described in specs[name]["options"].items():
            assert described["description"], (name, option)
            assert described.get("default") == defaults.get(option), (name, option)
    assert os.access(PLAYBOOKS / "drain.yml", os.R_OK)
