# SPDX-License-Identifier: Apache-2.0
"""One rig a test: its own GPUs, home and claims; nothing may be left of it at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.faults import unit_own_files, unit_state
from unit.faults.paused_unit import FakeUnit
from unit.faults.rig import Rig, build


@pytest.fixture
def rig_of(tmp_path: Path) -> Iterator[Callable[[str], Rig]]:
    """Make a rig of a product."""
    made: list[Rig] = []

    def make(profile: str) -> Rig:
        made.append(build(tmp_path, profile))
        return made[-1]

    yield make
    for rig in made:
        rig.end()


@pytest.fixture
def rig(rig_of: Callable[[str], Rig]) -> Rig:
    """Make a rig with an H100."""
    return rig_of("h100")


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUnit]:
    """Start a service with an index that is worth something."""
    data, groups = tmp_path / "srv" / "db", tmp_path / "groups"
    data.mkdir(parents=True)
    groups.mkdir()
    (data / "index.bin").write_bytes(bytes(range(256)) * 64)
    monkeypatch.setattr(unit_state, "CGROUPS", str(groups))
    # Wherever tests keep their folders.
    monkeypatch.setattr(unit_own_files, "mount_of", lambda _: (str(tmp_path), "ext4"))
    made = FakeUnit(data, groups)
    made.start()
    yield made
    made.stopping_hangs = False
    made.stop()
