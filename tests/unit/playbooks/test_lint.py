# SPDX-License-Identifier: Apache-2.0
"""ansible-lint, profile production, finds nothing in the playbooks; and finds what is planted for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unit.playbooks.conftest import PLAYBOOKS


def _lint(folder: Path, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "NO_COLOR": "1"}
    program = str(Path(sys.executable).with_name("ansible-lint"))
    return subprocess.run(
        [program, "-q", "--format=pep8", "--offline", "--project-dir", str(folder)],
        cwd=folder, capture_output=True, text=True, env=environment, timeout=500, check=False,
    )  # fmt: skip


@pytest.mark.timeout(600)
def test_nothing_is_found_in_the_playbooks_but_a_mistake_that_is_planted_there(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(PLAYBOOKS, tmp_path / "playbooks"))
    tasks = copied / "roles/chaosgpu/tasks/undo.yml"
    tasks.write_text(tasks.read_text() + "\n- name: List what is there\n  command: hostname\n")
    found = _lint(copied, tmp_path)
    assert found.returncode != 0
    lines = [line for line in found.stdout.splitlines() if line.strip()]
    assert lines
    assert all(line.startswith("roles/chaosgpu/tasks/undo.yml:") for line in lines), found.stdout
    assert "fqcn[action-core]" in found.stdout
