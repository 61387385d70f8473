# SPDX-License-Identifier: Apache-2.0
"""A real ansible-playbook on hosts that are this machine, and what it said of each, event by event."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent import zipapp

ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "playbooks"
_INVENTORY = "[gpu_hosts]\ngpu1 ansible_connection=local\ngpu2 ansible_connection=local\n"


@dataclass
class Played:
    """How a playbook ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Return all that it said."""
        return self.stdout + self.stderr

    def told(self, host: str) -> dict[str, Any]:
        """Return what the playbook gave with set_stats for a host."""
        [line] = [line for line in self.stdout.splitlines() if line.strip().startswith(f"{host}: {{")]
        found: dict[str, Any] = json.loads(line.partition(": ")[2])["chaosgpu"]
        return found

    def counts(self, host: str) -> dict[str, int]:
        """Return what the recap counts for a host."""
        [line] = [line for line in self.stdout.splitlines() if line.startswith(f"{host} ") and "ok=" in line]
        return {word.partition("=")[0]: int(word.partition("=")[2]) for word in line.split() if "=" in word}


type Play = Callable[..., Played]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Write the inventory and return what plays a playbook of ours, or tasks of the test's own beside our plugins."""
    inventory = tmp_path / "hosts.ini"
    inventory.write_text(_INVENTORY)

    def run(what: str | list[dict[str, Any]], *options: str, **variables: Any) -> Played:
        path = PLAYBOOKS / f"{what}.yml"
        if not isinstance(what, str):
            path = tmp_path / "own.yml"
            plays = [{"hosts": "gpu_hosts", "gather_facts": False, "tasks": what}]
            path.write_text(json.dumps(plays))
            if not (tmp_path / "action_plugins").exists():
                (tmp_path / "action_plugins").symlink_to(PLAYBOOKS / "action_plugins")
        given = tmp_path / "variables.json"
        given.write_text(json.dumps(variables))
        words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "-e", f"@{given}"]
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
        }
        done = subprocess.run(
            [*words, *options, str(path)], capture_output=True, text=True, env=environment, timeout=100, check=False
        )
        return Played(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the agent's file."""
    return zipapp.build(tmp_path_factory.mktemp("agent") / "agent.pyz")
