# SPDX-License-Identifier: Apache-2.0
"""Our playbooks on the test hosts, by a real ansible-playbook over real SSH: what each told of each host."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.hosts import Bench
from bench.inventory import GROUP, write_inventory
from bench.plan import ROOT
from bench.striking import started_by
from bench.waiting import wait_until

__all__ = ["DRILL", "Played", "Player"]

DRILL = "d1"
_PLAY_S = 280.0


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
        """Return what it gave with set_stats for a host; empty where there is nothing."""
        lines = [line for line in self.stdout.splitlines() if line.strip().startswith(f"{host}: {{")]
        found: dict[str, Any] = json.loads(lines[0].partition(": ")[2])["chaosgpu"] if lines else {}
        return found

    def changed(self, host: str) -> int:
        """Return how many tasks changed something, by Ansible's own recap."""
        [line] = [line for line in self.stdout.splitlines() if line.startswith(f"{host} ") and "ok=" in line]
        return int(line.partition("changed=")[2].split()[0])

    @property
    def diff(self) -> list[str]:
        """Return what `--diff` showed, line by line."""
        return [line for line in self.stdout.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]


class Player:
    """Plays our playbooks on a bench, as an operator whom one line in sudoers lets run the agent."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        (folder / "root").mkdir()
        self._inventories = {
            "ops": write_inventory(bench.plan, folder),
            "root": write_inventory(bench.plan, folder / "root", user="root"),
        }

    def play(self, name: str, *options: str, user: str = "ops", **variables: Any) -> Played:
        """Play one to its end."""
        child = self.start(name, *options, user=user, **variables)
        try:
            stdout, stderr = child.communicate(timeout=_PLAY_S)
        finally:
            self.kill()
        return Played(child.returncode, stdout, stderr)

    def start(self, name: str, *options: str, user: str = "ops", **variables: Any) -> "subprocess.Popen[str]":
        """Start one and return its process."""
        given = {"chaosgpu_hosts": GROUP, "chaosgpu_within_s": 500, "chaosgpu_back_within_s": 200, **variables}
        file = self._folder / "variables.json"
        file.write_text(json.dumps(given))
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self._inventories[user])]
        shown = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_SHOW_CUSTOM_STATS": "1", "ANSIBLE_HOST_KEY_CHECKING": "0"}
        marked = {"PLAYED_BY": str(self._folder), "ANSIBLE_LOCAL_TEMP": str(self._folder / "tmp")}
        with self._bench.inside():
            return subprocess.Popen(
                [*command, "-e", f"@{file}", *options, str(ROOT / "playbooks" / f"{name}.yml")],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, **shown, **marked}, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill the controller with all that it has started here, the open connection too, and wait until it is gone.

        On a busy machine a connection that is still dying takes whoever comes next with it.
        """
        struck = started_by(str(self._folder))
        for pid in struck:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_until(lambda: not any(_lives(pid) for pid in struck), 60.0)


def _lives(pid: int) -> bool:
    """Tell whether a process still has its files and sockets: one that has only not been waited for has none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
