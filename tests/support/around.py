# SPDX-License-Identifier: Apache-2.0
"""Runs with a lifecycle around them: a host that is a folder, stand-in playbooks, a real ansible-playbook."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.chaos import GUARD, TESTS, TINY, Chaos, Played, experiment

LIFECYCLE = {"name": "lifecycle", "provider": {"type": "python", "module": "chaosgpu.controls.lifecycle"}}
PLAYBOOKS = TESTS / "support/lifecycle"
BEFORE = {"driver": {"package": "570.172.08-1"}}
LONGEST_S = 900
THERE, BACK = ["drain", "snapshot", "pin", "verify"], ["rollback", "verify", "return"]


def plan_with(**changes: Any) -> dict[str, Any]:
    return {"packages": {"nvidia-open": "580.95.05-1"}, "drain": {"units": ["triton.service"]}, **changes}


def around(method: list[dict[str, Any]], plan: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    configuration = {"chaosgpu_lifecycle": plan_with() if plan is None else plan, "chaosgpu_playbooks": str(PLAYBOOKS)}
    return experiment(method, **{"controls": [TINY, LIFECYCLE, GUARD], "configuration": configuration, **changes})


def play(folder: Path, content: dict[str, Any], *options: str) -> Played:
    """Play an experiment to its end; ansible-playbook takes its time on a machine that is busy."""
    return Chaos(folder, content, *options).finish(LONGEST_S)


class Host:
    """The host of a test: a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "agent"
        self.folder.mkdir()
        (self.folder / "facts.json").write_text(json.dumps(BEFORE))

    @property
    def steps(self) -> list[str]:
        path = self.folder / "steps"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "facts.json").read_text())
        return found

    @property
    def drained(self) -> bool:
        return (self.folder / "drained-localhost").exists()

    @property
    def quarantined(self) -> str | None:
        path = self.folder / "quarantine-localhost"
        return path.read_text() if path.exists() else None

    def lets(self, what: str, says: str = "on purpose") -> None:
        (self.folder / what).write_text(says)


def recover(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `chaosgpu recover` against the tiny agent of a folder."""
    program = (
        "import sys; from support.tiny import configure_control; configure_control(); "
        "from chaosgpu.cli.main import main; sys.exit(main())"
    )
    return subprocess.run(
        [sys.executable, "-c", program, "recover", *words],
        cwd=folder,
        env=os.environ | {"TINY_AGENT": str(folder / "agent"), "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
