# SPDX-License-Identifier: Apache-2.0
"""Runs of `chaos run` against a test host over SSH, each struck in one phase; and what the host is left with."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import ssh
from bench.hosts import Bench, Host
from bench.leases import broken
from bench.plan import ROOT
from bench.striking import started_by
from bench.waiting import wait_until
from support.chaos import GUARD, UNDO_ALL, Chaos, Played, experiment, python

__all__ = ["BOUND_S", "TTL_S", "StruckRun", "all_clean_s", "residue"]

TTL_S = 8.0
BOUND_S = 5.0
_CLAIMS = "cat /var/tmp/chaosgpu-claim-* 2>/dev/null"
_RUNS = (
    "systemctl list-units --all --plain --no-legend 'chaosgpu-*' | grep -v -e chaosgpu-sweep -e chaosgpu-recover; "
    "pgrep --full --list-full 'agent.pyz (keep|hold|due|apply|undo|renew)'"
)
_FAULTS = {"gpu.power.cap": {"watts": 300}, "gpu.memory.fill": {"used_percent": 80}}


@dataclass
class StruckRun:
    """One run against one GPU of a host."""

    bench: Bench
    host: Host
    gpu: int
    phase: str
    blow: str
    folder: Path
    fault: str = "gpu.power.cap"
    renewer: str = ""
    lasts_s: float = 2.0

    def start(self) -> "StruckRun":
        """Start it; it strikes itself."""
        self.folder.mkdir(parents=True)
        told: dict[str, Any] = {name: str(self.folder / name) for name in ("struck", "controller", "active")}
        told |= {"phase": self.phase, "blow": self.blow, "ttl_s": TTL_S}
        told["agent"] = [*ssh.words(self.bench.plan, self.host.plan, "root"), "/usr/libexec/chaosgpu/agent.pyz"]
        told |= {"renewer": self.renewer} if self.renewer else {}
        uuid = self.host.gpus().show()[self.gpu]["identity"]["uuid"]
        ours = {"module": "bench.striking"}
        lasts_s = 60.0 if self.phase in ("active", "during renew") else self.lasts_s
        method = [
            python("break", "break_gpu", **ours, gpu=uuid, fault=self.fault, params=_FAULTS[self.fault]),
            python("wait", "wait", **ours, seconds=lasts_s),
        ]
        steady = {"title": "holds", "probes": [{**python("holds", "holds", kind="probe", **ours), "tolerance": True}]}
        striking = {"name": "striking", "provider": {"type": "python", **ours}}
        content = experiment(
            method, controls=[striking, GUARD], rollbacks=[UNDO_ALL], **{"steady-state-hypothesis": steady}
        )
        self.host.connect()
        with self.bench.inside():
            path = f"{ROOT / 'tests'}:{ROOT}"
            self.chaos = Chaos(self.folder, content, ignore=(), STRIKE=json.dumps(told), PYTHONPATH=path)
        return self

    def wait_until_struck(self, within_s: float = 60.0) -> float:
        """Return when it was struck, in seconds of CLOCK_BOOTTIME."""
        struck = self.folder / "struck"
        self.chaos.wait_for(struck, within_s) if self.blow == "stop" else wait_until(struck.exists, within_s)
        wait_until(struck.read_text)
        return float(struck.read_text())

    def clean_s(self, within_s: float = 60.0) -> float:
        """Wait until the run was struck, and return how long after that its GPU was last seen changed.

        An apply that was on its way may still arrive, and then counts from there on: it is looked at until nothing of
        the run is under way any more.
        """
        struck_s = self.wait_until_struck(within_s)
        last_s = now_s = struck_s
        look_s = 3 * TTL_S if self.blow == "stop" else TTL_S + BOUND_S + 1.0
        while now_s < struck_s + look_s and (self.blow == "stop" or broken(self.host, self.gpu) or self._under_way()):
            if broken(self.host, self.gpu):
                last_s = now_s
            time.sleep(0.1)
            now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, last_s - max(struck_s, self._made_s()))

    def _made_s(self) -> float:
        """Return when the host made its lease; 0 where it never did."""
        lines = (self.folder / ".chaosgpu/runs/latest/ledger.jsonl").read_text().splitlines()
        for line in map(json.loads, lines):
            if line["type"] == "lease.reserved":
                found = self.host.agent("record", {"lease": line["lease"]}).get("state") or {}
                return float(found["history"][0]["boottime_s"]) if found.get("history") else 0.0
        return 0.0

    def _under_way(self) -> bool:
        return bool(started_by(str(self.folder / "struck"))) or residue(self.host, self.gpu) != []

    def go_on(self) -> Played:
        """Let a stopped controller continue to its end."""
        os.kill(self.chaos.process.pid, signal.SIGCONT)
        return self.chaos.finish(60)

    def bury(self) -> None:
        """See a killed controller off."""
        self.chaos.finish(60)


def all_clean_s(runs: list[StruckRun]) -> list[float]:
    """Look at several runs at once, each as `clean_s` does."""
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(StruckRun.clean_s, runs))


def residue(host: Host, gpu: int | None = None) -> list[str]:
    """Name whatever of ours is still on a host: open leases, units, processes, claims, changes; or on one GPU."""
    uuid = "" if gpu is None else host.gpus().show()[gpu]["identity"]["uuid"]
    claims = [line for line in host.run(["sh", "-c", _CLAIMS]).stdout.splitlines() if uuid in line]
    leases = [line for line in host.agent("list")["leases"] if uuid in json.dumps(line)]
    found = [*claims, *(f"lease {line['lease']} is {line['state']}: {line.get('reason')}" for line in leases)]
    found += [f"GPU {number} is changed" for number in ((0, 1) if gpu is None else (gpu,)) if broken(host, number)]
    return found if gpu is not None else found + host.run(["sh", "-c", _RUNS]).stdout.splitlines()
