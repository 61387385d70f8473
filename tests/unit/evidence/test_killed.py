# SPDX-License-Identifier: Apache-2.0
"""A controller that is killed at any moment leaves a record of which verification says exactly what it lacks."""

import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

import chaosgpu.evidence
from chaosgpu.evidence import register
from chaosgpu.evidence.keygen import ssh_checker
from chaosgpu.evidence.verify import Trust, verify
from support import evidence_killed as killed
from support.evidence_world import OPERATOR, SIGNER, World, lay

SCRIPT = Path(chaosgpu.evidence.__file__).parent / "data" / "verify.sh"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("killed") / "world")
    made.approve("leak")
    return made


def _attempt(world: World, name: str) -> None:
    plan, _ = world.plan("leak")
    register.started(world.log, "leak", name, sha256(plan).hexdigest(), operator=OPERATOR)


@pytest.mark.parametrize("torn", [False, True])
def test_each_moment_at_which_a_run_is_killed_is_told_exactly(world: World, torn: bool, tmp_path: Path) -> None:
    for moment in range(killed.MOMENTS):
        name = f"try-{moment}-{torn}"
        _attempt(world, name)
        left = killed.play(world, name, moment, torn=torn)
        # The next who looks notes the attempt as lost; until then the log itself says that it has no end.
        before = verify(world.export(left.run), Trust(ssh_checker(world.allowed), SIGNER))
        assert before.problems == ()
        assert any(f"Attempt {name} " in sentence for sentence in before.missing)
        register.aborted(world.log, "leak", name, "its controller was killed", world.runs[left.run])
        files = world.export(left.run)
        found = verify(files, Trust(ssh_checker(world.allowed), SIGNER))
        assert found.problems == (), moment
        assert sorted(found.missing) == sorted(left.lacks), moment
        if moment % 5 == 0:
            _shell_says_the_same(world, lay(files, tmp_path / name), complete=not left.lacks)


def _shell_says_the_same(world: World, folder: Path, *, complete: bool) -> None:
    command = ["sh", str(SCRIPT), "-f", str(world.allowed), "-i", SIGNER, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (0 if complete else 4), done.stdout
