# SPDX-License-Identifier: Apache-2.0
"""One round on a fleet of test hosts: Ansible's own ways and ours in turn, each with its time and processor time."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import groups, nspawn  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.files import AGENT  # noqa: E402 (as above)
from bench.hosts import Bench  # noqa: E402 (as above)
from bench.inventory import GROUP, write_inventory  # noqa: E402 (as above)
from support.chaos import GUARD, TESTS, UNDO_ALL, experiment, python  # noqa: E402 (as above)

__all__ = ["FORKS", "KINDS", "Fleet", "NotTogetherError"]

FORKS = 25
_BIN = Path(sys.executable).parent
_WITHIN_S = 900.0
# Drift is found, or something cannot be read: a scan that went through.
_SCANNED = (0, 1, 3)

type _More = dict[str, Any]


class NotTogetherError(Exception):
    """The run was refused with nothing left: a clock not known well enough, or a host not ready at the instant."""


class Fleet:
    """Hosts that are up, and a folder from which Ansible and chaosgpu reach them with the same settings."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        # Root's login on both sides; connections stay open from one measurement to the next.
        kept = "-C -o ControlMaster=auto -o ControlPersist=600s"
        write_inventory(bench.plan, folder, user="root", ansible_ssh_args=kept)
        (folder / "ansible.cfg").write_text(f"[defaults]\nforks = {FORKS}\n[connection]\npipelining = True\n")
        self._hosts = len(bench.hosts)
        for host in bench.hosts:  # as `provision` does
            host.run([AGENT, "compile"], check=True)

    def measure(self, kind: str) -> _More:
        """Do one thing on all hosts and return its cost; raises where it did not go through on all of them."""
        hosts_s, ours, begun_s = self._hosts_cpu_s(), _children_cpu_s(), time.monotonic()
        more = KINDS[kind](self)
        return {
            "wall_s": round(time.monotonic() - begun_s, 3),
            "controller_cpu_s": round(_children_cpu_s() - ours, 3),
            "hosts_cpu_s": round(self._hosts_cpu_s() - hosts_s, 3),
            "load": round(os.getloadavg()[0], 1),
            **more,
        }

    def module(self, *words: str) -> _More:
        """Run a module of Ansible's own on all hosts."""
        self._run([str(_BIN / "ansible"), "all", "-i", "hosts.yml", "-m", *words])
        return {}

    def stamps(self) -> _More:
        """Let Ansible run a command at one go, and say how far apart it ran: each host stamps itself."""
        words = [str(_BIN / "ansible"), "all", "-i", "hosts.yml", "-o", "-m", "command", "-a", "date +%s.%N"]
        said = self._run(words).splitlines()
        stamps = [float(line.rpartition(" ")[2]) for line in said if "(stdout)" in line]
        if len(stamps) != self._hosts:
            raise RuntimeError(f"{len(stamps)} of {self._hosts} hosts gave a stamp: {said}")
        return {"spread_s": round(max(stamps) - min(stamps), 6)}

    def chaosgpu(self, *words: str) -> _More:
        """Run a command of ours on all hosts."""
        self._run([str(_BIN / "chaosgpu"), *words, "--inventory", "hosts.yml"], well=_SCANNED)
        return {}

    def fault(self) -> _More:
        """Play one fault on all hosts at one instant, and undo it."""
        gpu = self._bench.hosts[0].gpus().show()[0]["identity"]["pci_bus_id"]
        arguments = {"gpu": gpu, "watts": 300, "duration_s": 300, "timeout_s": 120, "hosts": GROUP}
        cap = python("cap power", "cap_power", module="chaosgpu.gpu.actions", **arguments)
        configuration = {"chaosgpu_inventory": "hosts.yml", "chaosgpu_blast_radius": self._hosts}
        content = experiment([cap], controls=[GUARD], rollbacks=[UNDO_ALL], configuration=configuration)
        (self._folder / "experiment.json").write_text(json.dumps(content))
        chaos = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", "none.yaml"]
        said = self._run([*chaos, "run", "experiment.json"], {"PYTHONPATH": f"{TESTS}:{ROOT}"}, well=(0, 1))
        if "at one instant: the clock of" in said or "after inject_at" in said:
            raise NotTogetherError
        lines = (self._folder / ".chaosgpu/runs/latest/ledger.jsonl").read_text().splitlines()
        ledger = [json.loads(line) for line in lines]
        together = next(entry for entry in ledger if entry["type"] == "fault.together")
        clean = sum(entry["type"] == "lease.clean" for entry in ledger)
        if ledger[-1]["verdict"] != "passed" or clean != self._hosts:
            raise RuntimeError(f"the run did not pass: {ledger[-1]}")
        return {"spread_s": together["spread_s"], "clock_error_s": together["clock_error_s"]}

    def _run(self, words: list[str], more: Mapping[str, str] | None = None, *, well: tuple[int, ...] = (0,)) -> str:
        variables = {**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", **(more or {})}
        with self._bench.inside():
            done = subprocess.run(
                words, cwd=self._folder, env=variables, capture_output=True, text=True, timeout=_WITHIN_S, check=False
            )
        if done.returncode not in well:
            raise RuntimeError(f"{words} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout + done.stderr

    def _hosts_cpu_s(self) -> float:
        """Return what all hosts have used so far, from their first process on."""
        total = 0
        for host in self._bench.hosts:
            folder = groups.folders(nspawn.group(self._bench.plan, host.plan))[0]
            total += int((folder / "cpu.stat").read_text().split()[1])
        return total / 1e6


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# What is measured, in this order, in each round.
KINDS: dict[str, Callable[[Fleet], _More]] = {
    "raw": lambda fleet: fleet.module("raw", "-a", "true"),
    "ping": lambda fleet: fleet.module("ping"),
    "scan": lambda fleet: fleet.chaosgpu("drift", "scan"),
    "setup": lambda fleet: fleet.module("setup"),
    "leases": lambda fleet: fleet.chaosgpu("leases"),
    "stamps": Fleet.stamps,
    "fault": Fleet.fault,
}
