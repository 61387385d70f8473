# SPDX-License-Identifier: Apache-2.0
"""One file that runs on the host's own Python, without pip, and on 3.9 syntax throughout."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chaosgpu.agent
from chaosgpu.agent.zipapp import build

AGENT = Path(chaosgpu.agent.__file__).parent


@pytest.fixture(scope="module")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("zipapp") / "agent.pyz")


def ask(zipapp: Path, verb: str, home: Path, request: dict[str, Any]) -> dict[str, Any]:
    python = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or sys.executable
    child = subprocess.run(
        [python, "-I", "-S", str(zipapp), verb],
        input=json.dumps({"protocol": 1, **request}).encode(),
        capture_output=True,
        env={"PATH": os.environ["PATH"], "CHAOSGPU_AGENT_HOME": str(home)},
        cwd="/",
        check=False,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


@pytest.mark.parametrize("path", sorted(AGENT.rglob("*.py")), ids=lambda path: str(path.relative_to(AGENT)))
def test_every_file_of_the_agent_is_python_3_9(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_it_answers_on_the_hosts_own_python(zipapp: Path, tmp_path: Path) -> None:
    assert ask(zipapp, "list", tmp_path, {}) == {"protocol": 1, "leases": [], "halted": None}


def test_it_finds_every_fault_and_refuses_without_a_policy(zipapp: Path, tmp_path: Path) -> None:
    order = {"fault": "gpu.none", "params": {}, "ttl_s": 5, "max_duration_s": 5, "run": "r"}
    unknown = ask(zipapp, "apply", tmp_path, order)["error"]
    assert "gpu.memory.fill" in unknown["message"]
    order = {**order, "fault": "gpu.power.cap", "params": {"gpu": "GPU-1", "watts": 200}}
    refused = ask(zipapp, "apply", tmp_path, order)["error"]
    assert refused["kind"] == "forbidden"


def test_the_same_sources_give_the_same_bytes(zipapp: Path, tmp_path: Path) -> None:
    assert build(tmp_path / "again.pyz").read_bytes() == zipapp.read_bytes()
    assert (tmp_path / "again.pyz").stat().st_mode & 0o777 == 0o755
