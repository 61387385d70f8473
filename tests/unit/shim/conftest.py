# SPDX-License-Identifier: Apache-2.0
"""The shim as this machine's compiler builds it, a unit's folder for its toggle, and processes under it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.shim.library import Library, provide
from chaosgpu.agent.shim.toggle import Errors, Toggle
from chaosgpu.sim import instance
from unit.sim.conftest import Peer

HERE = Path(__file__).parent


def turn_on(
    toggle: Toggle, code: int = 999, groups: tuple[str, ...] = ("alloc",), every: int = 1, s: float = 60
) -> None:
    """Make calls fail from now on, for so many seconds."""
    toggle.turn_on(Errors(code, groups, every), time.clock_gettime(time.CLOCK_BOOTTIME) + s)


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """Give a state root that every user can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def shim(root: Path) -> Library:
    return provide(str(root), None)


@pytest.fixture
def toggle(tmp_path: Path) -> Toggle:
    made = Toggle(str(tmp_path / "unit"))
    made.make(os.getuid())
    return made


@pytest.fixture
def gpus(tmp_path: Path) -> Iterator[instance.Instance]:
    made = instance.create(tmp_path / "gpus", "h100", 1, seed=1, simulated_root=True)
    yield made
    made.remove()


@pytest.fixture
def start(gpus: instance.Instance, shim: Library, toggle: Toggle) -> Iterator[Callable[[], Peer]]:
    """Start a process that uses the GPU through ctypes, under the shim."""
    peers: list[Peer] = []

    def start_one() -> Peer:
        peers.append(Peer(gpus, LD_PRELOAD=shim.path, CHAOSGPU_CUDA_ERRORS=toggle.folder))
        assert peers[-1]("start()") == 0
        return peers[-1]

    yield start_one
    for peer in peers:
        peer.close()


@pytest.fixture(scope="session")
def built(root: Path) -> Callable[..., Path]:
    """Compile one of the C files beside this one."""

    def build(source: str, *flags: str) -> Path:
        made = root / f"{Path(source).stem}{abs(hash(flags))}"
        subprocess.run(["cc", "-O2", "-o", made, HERE / source, *flags], check=True, timeout=60)
        return made

    return build
