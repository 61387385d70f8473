# SPDX-License-Identifier: Apache-2.0
"""A folder of ours on a file system is residue when its lease does not live, and none while it does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.home import Home
from chaosgpu.agent.residue.finding import Finding, Found, families
from support.agent_host import AgentHost
from unit.residue.conftest import MakeScene

_MOUNTS = "/dev/vda / ext4 rw 0 0\n/dev/vdb /srv/my\\040data ext4 rw 0 0\nproc /proc proc rw 0 0\n"
_FILES = {
    "/proc/self/mounts": _MOUNTS,
    "/srv/my data/chaosgpu-aside-l1/0": "",
    "/srv/my data/chaosgpu-fill-l1/fill": "",
    "/srv/my data/theirs/0": "",
}
_KINDS = {"our asides": "aside.left", "our disks": "fill.left"}
_BY_HAND = {
    "our asides": "whose the files in /srv/my data/chaosgpu-aside-l1 are",
    "our disks": "rm -r /srv/my data/chaosgpu-fill-l1",
}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentHost]:
    one = AgentHost(tmp_path)
    yield one
    one.close()


def _findings(name: str, agent: AgentHost, make_scene: MakeScene, *, limited: bool = False) -> list[Finding]:
    (family,) = (one for one in families() if one.name == name)
    found = Found(family)
    family.look(make_scene(_FILES, home=Home(str(agent.home), limited=limited)), found)
    assert found.unknown == []
    return found.findings


@pytest.mark.parametrize("name", _KINDS)
def test_that_of_a_live_lease_is_none_and_that_of_an_ended_one_is_ours(
    agent: AgentHost, make_scene: MakeScene, name: str
) -> None:
    agent.apply()
    assert _findings(name, agent, make_scene) == []
    agent.undo()
    (finding,) = _findings(name, agent, make_scene)
    assert (finding.kind, finding.owner, finding.lease) == (_KINDS[name], "ours", "l1")
    assert _BY_HAND[name] in finding.by_hand


@pytest.mark.parametrize(("name", "owner"), [("our asides", "ours"), ("our disks", "unknown")])
def test_of_a_lease_of_which_nothing_is_known_files_aside_are_ours_and_a_fill_may_be_a_labs(
    agent: AgentHost, make_scene: MakeScene, name: str, owner: str
) -> None:
    assert [finding.owner for finding in _findings(name, agent, make_scene)] == [owner]
    assert _findings(name, agent, make_scene, limited=True) == []
