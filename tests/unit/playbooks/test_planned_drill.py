# SPDX-License-Identifier: Apache-2.0
"""planned_drill.yml: what is due is run by its plan, and a refusal is the job's own sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.drills import People, World
from unit.playbooks.conftest import PLAYBOOKS

pytestmark = pytest.mark.timeout(600)

BIN = Path(sys.executable).parent


def _play(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    project = folder / "playbooks"
    project.mkdir()
    playbook = shutil.copy(PLAYBOOKS / "planned_drill.yml", project)
    given = json.dumps({"chaosgpu_command": [*command], "awx_user_name": "alice", **variables})
    return subprocess.run(
        [str(BIN / "ansible-playbook"), "-i", "localhost,", str(playbook), "-e", given],
        cwd=folder, env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1"}, capture_output=True,
        text=True, timeout=500, check=False,
    )  # fmt: skip


def test_a_plan_that_is_refused_fails_the_job_with_its_sentence_and_is_on_record(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    world = World(tmp_path, People(tmp_path / "people", ("alice@lab",)))
    world.write(window__first="2026-01-05", window__last="2026-01-30")
    (tmp_path / "site.yaml").write_text("evidence: evidence\ndrills: drills\n")
    played = _play(
        tmp_path, str(BIN / "chaosgpu"), chaosgpu_plan="plan.yaml", chaosgpu_site=str(tmp_path / "site.yaml")
    )
    assert played.returncode == 2, played.stdout
    assert "The window never opens again: it closed for the last time at" in played.stdout
    [line] = (tmp_path / "evidence/log.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (entry["type"], entry["how"], entry["by"]) == ("drill-skipped", "refused", "alice")


def test_the_plan_and_its_digest_reach_the_command_as_words_and_its_success_is_the_jobs(tmp_path: Path) -> None:
    command = tmp_path / "chaosgpu"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> words\n')
    command.chmod(0o700)
    played = _play(tmp_path, str(command), chaosgpu_plan="drills/a b.yaml", chaosgpu_plan_sha256="a" * 64)
    assert played.returncode == 0, played.stdout
    found = (tmp_path / "words").read_text().splitlines()
    assert found == ["drill schedule --check", f"drill run drills/a b.yaml --scheduled --sha256 {'a' * 64}"]


@pytest.mark.parametrize(
    "answers", [{"chaosgpu_plan": "--settings=x"}, {"chaosgpu_plan": "plan.yaml", "chaosgpu_plan_sha256": "zz"}]
)
def test_a_wrong_answer_of_the_survey_starts_nothing(tmp_path: Path, answers: dict[str, str]) -> None:
    played = _play(tmp_path, "/nonexistent/chaosgpu", **answers)
    assert played.returncode == 2
    assert "Name a plan (chaosgpu_plan) of the project" in played.stdout
