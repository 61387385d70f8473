# SPDX-License-Identifier: Apache-2.0
"""What was struck is kept in a short file a fault, and counts for the same sources only."""

from pathlib import Path

import pytest

import safety
import safety_store
from chaosgpu.selfdrill.plan import Segment
from chaosgpu.selfdrill.points import Outcome
from chaosgpu.selfdrill.strace import Call
from safety_store import Line, Store

SEGMENT = Segment("apply", "agent", (Call("openat", 3, '5</x>, "/x/leases/l7/state", O_WRONLY|O_CREAT', 1),))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety_store, "FOLDER", tmp_path)


def _kept() -> Store:
    store = Store("gpu.burn", "d1", [SEGMENT])
    store.write()
    hit = Outcome(hit=True, late_s=0.25, in_force=True, armed=True)
    store.add([Line.of(point.name, 1, hit) for point in SEGMENT.points("gpu.burn")])
    store.add(
        [Line.of("double/7", 2, Outcome(hit=True, residue=["a claim"])), Line("apply/agent/process/x#1", 1, 0, "h")]
    )
    return store


def test_a_later_session_reads_what_an_earlier_one_struck() -> None:
    kept, found = _kept(), Store.read("gpu.burn", "d1")
    assert found.lines == {name: line for name, line in kept.lines.items() if not name.endswith("x#1")}
    assert found.segments[0].calls[0].kind == SEGMENT.calls[0].kind
    assert found.done() == set(found.lines)
    assert found.lines["double/7"].residue == ("a claim",)
    assert kept.path.stat().st_size < 120 + 70 * len(kept.lines)


def test_what_another_agent_survived_does_not_count() -> None:
    _kept()
    assert Store.read("gpu.burn", "d2").lines == {}


def test_an_apply_arms_until_the_lease_is_armed_and_then_injects() -> None:
    names = {"apply/a/process/x#1": "arm", "undo alone/a/all/x#1": "revert", "boot/a/all/x#1": "boot"}
    assert {name: safety.phase_of(Line(name, 1, 0, "h")) for name in names} == names
    assert safety.phase_of(Line("apply/a/process/x#1", 1, 0, "ha")) == "inject"
