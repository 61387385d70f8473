# SPDX-License-Identifier: Apache-2.0
"""A folder with files that were set aside is residue when its lease does not live, and none while it does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.home import Home
from chaosgpu.agent.residue.finding import Finding, Found, families
from support.agent_host import AgentHost
from unit.residue.conftest import MakeScene

_MOUNTS = "/dev/vda / ext4 rw 0 0\n/dev/vdb /srv/my\\040data ext4 rw 0 0\nproc /proc proc rw 0 0\n"
_FILES = {"/proc/self/mounts": _MOUNTS, "/srv/my data/chaosgpu-aside-l1/0": "", "/srv/my data/theirs/0": ""}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentHost]:
    one = AgentHost(tmp_path)
    yield one
    one.close()


def _findings(agent: AgentHost, make_scene: MakeScene, *, limited: bool = False) -> list[Finding]:
    (family,) = (one for one in families() if one.name == "our asides")
    found = Found(family)
    family.look(make_scene(_FILES, home=Home(str(agent.home), limited=limited)), found)
    assert found.unknown == []
    return found.findings


def test_that_of_a_live_lease_is_none_and_that_of_an_ended_one_is_ours(agent: AgentHost, make_scene: MakeScene) -> None:
    agent.apply()
    assert _findings(agent, make_scene) == []
    agent.undo()
    (finding,) = _findings(agent, make_scene)
    assert (finding.kind, finding.owner, finding.lease) == ("aside.left", "ours", "l1")
    assert "whose the files in /srv/my data/chaosgpu-aside-l1 are" in finding.by_hand


def test_that_of_a_lease_of_which_nothing_is_known_is_ours_and_a_lab_has_none(
    agent: AgentHost, make_scene: MakeScene
) -> None:
    assert [finding.owner for finding in _findings(agent, make_scene)] == ["ours"]
    assert _findings(agent, make_scene, limited=True) == []
