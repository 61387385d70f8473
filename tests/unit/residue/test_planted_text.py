# SPDX-License-Identifier: Apache-2.0
"""Each kind that no test host can carry is found in the text that the kernel or a program shows for it."""

import pytest

from chaosgpu.agent.residue.finding import families
from chaosgpu.agent.residue.look import look
from chaosgpu.agent.residue.scene import Scene
from unit.residue.conftest import MakeScene
from unit.residue.plants import PLANTS, Plant


def _looked(scene: Scene) -> dict[str, str]:
    known = [one for one in families() if one.name != "gpus"]
    found = look(scene, known=known)
    assert found.unknown == {}
    return {finding.kind: finding.owner for finding in found.findings}


def test_a_host_on_which_nothing_is_has_no_residue(make_scene: MakeScene) -> None:
    assert _looked(make_scene()) == {}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.kind)
def test_what_is_planted_is_found_and_nothing_else(plant: Plant, make_scene: MakeScene) -> None:
    assert _looked(make_scene(plant.files, plant.said)) == {plant.kind: plant.owner}
