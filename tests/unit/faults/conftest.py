# SPDX-License-Identifier: Apache-2.0
"""One rig a test: its own GPUs, home and claims; nothing may be left of it at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
