# SPDX-License-Identifier: Apache-2.0
"""Every byte of a small bundle, flipped; here a sample of most files, and all of what is signed. The rest: figures."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

import chaosgpu.evidence
from chaosgpu.evidence.sums import SIGNATURE, SUMS
from support.evidence_flips import Oracle, flips
from support.evidence_world import SIGNER, World, lay

SCRIPT = Path(chaosgpu.evidence.__file__).parent / "data" / "verify.sh"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("flips") / "world")


@pytest.fixture(scope="module")
def files(world: World) -> Mapping[str, bytes]:
    return world.export(world.drill("small"))


def test_no_flipped_byte_is_accepted(world: World, files: Mapping[str, bytes]) -> None:
    oracle = Oracle(world)
    assert oracle.accepts(files)
    tried = 0
    for name, content in sorted(files.items()):
        step = {SIGNATURE: 3, SUMS: 5}.get(name, 61)
        for place in range(0, len(content), step):
            tried += 1
            assert not oracle.accepts({**files, name: flips(content, place, 0x01)}), f"{name} at {place}"
    assert tried > 1000


def test_the_shell_verifier_accepts_none_of_a_sample(world: World, files: Mapping[str, bytes], tmp_path: Path) -> None:
    folder = lay(files, tmp_path / "bundle")
    command = ["sh", str(SCRIPT), "-f", str(world.allowed), "-i", SIGNER, str(folder)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    for name in (SIGNATURE, SIGNATURE, SUMS, "log.jsonl", "run/ledger.jsonl", "report.html"):
        place = len(files[name]) // 2 if name != SIGNATURE else len(files[name]) - 1
        (folder / name).write_bytes(flips(files[name], place, 0x01))
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 5, name
        (folder / name).write_bytes(files[name])
