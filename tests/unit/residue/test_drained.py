# SPDX-License-Identifier: Apache-2.0
"""The drop-in of a host that is out of service is not left behind while its drain is on record; without one it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.agent.residue.finding import families
from chaosgpu.agent.residue.look import look
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.service.gate import Gate
from chaosgpu.agent.service.order import Wanted
from chaosgpu.agent.service.record import DRAINED, Record
from chaosgpu.agent.store import write_document
from unit.residue.conftest import MakeScene

_SHUT = Gate("vllm-chat.service", "drill-1", "/etc/systemd/system")
_LIST = "systemctl --no-pager list-units --all --plain --no-legend --full chaosgpu-*"


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    made = make_scene({"/run/systemd/system/.here": "", _SHUT.path: _SHUT.text}, {_LIST: ""})
    Path(made.home.path, "service").mkdir(parents=True)
    return made


def _record(scene: Scene, drill: str) -> None:
    wanted = Wanted(units=("vllm-chat.service",))
    record = Record(drill, "a driver", "ada", "2026-11-26T10:00:00Z", DRAINED, wanted, ())
    write_document(f"{scene.home.path}/service", "state", record.to_json())


def _found(scene: Scene) -> list[str]:
    return [finding.kind for finding in look(scene, known=[f for f in families() if f.name == "our units"]).findings]


def test_while_the_drain_is_on_record_it_is_no_residue(scene: Scene) -> None:
    _record(scene, "drill-1")
    assert _found(scene) == []


def test_without_a_record_it_is_residue(scene: Scene) -> None:
    assert _found(scene) == ["dropin.ours"]


def test_of_another_drill_it_is_residue(scene: Scene) -> None:
    _record(scene, "drill-2")
    assert _found(scene) == ["dropin.ours"]


def test_with_a_record_that_cannot_be_trusted_it_is_residue(scene: Scene) -> None:
    _record(scene, "drill-1")
    path = Path(scene.home.path, "service", "state")
    path.write_bytes(path.read_bytes().replace(b"drill-1", b"drill-9"))
    assert _found(scene) == ["dropin.ours"]


def test_one_that_somebody_has_changed_is_residue(make_scene: MakeScene, scene: Scene) -> None:
    _record(scene, "drill-1")
    changed = make_scene({_SHUT.path: _SHUT.text + "Nice=5\n"}, {_LIST: ""})
    assert _found(replace(changed, home=scene.home)) == ["dropin.ours"]
