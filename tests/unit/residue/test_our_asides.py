# SPDX-License-Identifier: Apache-2.0
"""A file that was set aside is residue when its lease does not live, and none while it does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.home import Home
from chaosgpu.agent.record import Undo
from chaosgpu.agent.residue.finding import Finding, Found, families
from support.agent_host import AgentHost
from unit.residue.conftest import MakeScene

_FILES = {
    "/var/lib/db/base/5/chaosgpu-aside-l1-0": "",
    "/var/lib/db/base/5/chaosgpu-aside-l1-1.copy": "",
    "/var/lib/db/base/5/chaosgpu-aside-": "",
    "/var/lib/docker/overlay2/x/chaosgpu-aside-l1-0": "",
    "/home/ann/db/chaosgpu-aside-l1-0": "",
}


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
    found = _findings(agent, make_scene)
    assert [one.where.rpartition("/")[2] for one in found] == ["chaosgpu-aside-l1-0", "chaosgpu-aside-l1-1.copy"]
    assert {(one.kind, one.owner, one.lease) for one in found} == {("aside.left", "ours", "l1")}


def test_the_folders_that_a_lease_names_are_looked_at_wherever_they_are(
    agent: AgentHost, make_scene: MakeScene
) -> None:
    agent.apply()
    agent.undo()
    folder = make_scene(home=Home(str(agent.home), limited=False)).leases
    (known,) = folder.all()
    file = {"path": "/home/ann/db/index", "aside": "/home/ann/db/chaosgpu-aside-l1-0"}
    prior = json.loads(json.dumps({"files": [file]}))
    known.folder.write_undo(Undo("l1", "unit.files.vanish", {}, prior, False, {}, None))  # noqa: FBT003 (its order)
    assert "/home/ann/db/chaosgpu-aside-l1-0" in [one.where for one in _findings(agent, make_scene)]


def test_a_lab_has_none(agent: AgentHost, make_scene: MakeScene) -> None:
    assert len(_findings(agent, make_scene)) == 2
    assert _findings(agent, make_scene, limited=True) == []
