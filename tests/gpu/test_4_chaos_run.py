# SPDX-License-Identifier: Apache-2.0
"""Whole runs of `chaos run` on the card: a fragile and a careful service, and faults that cannot take hold."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpu import notes
from gpu.asking import canary_is_right
from gpu.card import MIB, Card, until

TESTS = Path(__file__).parents[1]
NEEDS_MIB = 2048


@dataclass(frozen=True)
class Run:
    """One run and what it left."""

    status: int
    said: str
    folder: Path
    took_s: float

    @property
    def record(self) -> Path:
        """The run directory."""
        return (self.folder / ".chaosgpu/runs/latest").resolve()

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The ledger's lines."""
        return [json.loads(line) for line in (self.record / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]

    @property
    def verdict(self) -> str:
        """The verdict in the ledger's last line."""
        return str(self.ledger[-1].get("verdict"))


@contextlib.contextmanager
def service(uuid: str, *, careful: bool) -> Iterator[int]:
    """Have a service that needs 2 GiB: for each answer, or, if it is careful, from its start."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    script = str(Path(__file__).with_name("victim.py"))
    words = [sys.executable, script, "http", uuid, str(port), str(NEEDS_MIB), *(["keep"] if careful else [])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True, cwd="/") as child:
        try:
            assert until(lambda: _answers(port), 30, 0.1) is not None, "the service does not answer"
            yield port
        finally:
            os.killpg(child.pid, signal.SIGKILL)


def _answers(port: int) -> bool:
    try:
        return canary_is_right(port)
    except (urllib.error.URLError, OSError):
        return False


def experiment(uuid: str, port: int, **fill: object) -> dict[str, Any]:
    """Write an experiment as users write them: guard, canary, one fault, one rollback."""
    canary = {
        "name": "the canary is right",
        "type": "probe",
        "tolerance": True,
        "provider": {"type": "python", "module": "gpu.asking", "func": "canary_is_right", "arguments": {"port": port}},
    }
    fault = {
        "name": "fill the GPU's memory",
        "type": "action",
        "provider": {
            "type": "python",
            "module": "chaosgpu.gpu.actions",
            "func": "fill_memory",
            "arguments": {"gpu": uuid, "duration_s": 30, **fill},
        },
    }
    undo = {
        "name": "undo everything of this run",
        "type": "action",
        "provider": {"type": "python", "module": "chaosgpu.lease.actions", "func": "undo_all"},
    }
    return {
        "title": "GPU memory runs out under a service",
        "description": "On a real card.",
        "controls": [{"name": "guard", "provider": {"type": "python", "module": "chaosgpu.controls.guard"}}],
        "runtime": {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "default"}},
        "steady-state-hypothesis": {"title": "The service gives right answers", "probes": [canary]},
        "method": [fault],
        "rollbacks": [undo],
    }


def play(folder: Path, content: dict[str, Any]) -> Run:
    """Play it with the real `chaos run`."""
    (folder / "experiment.json").write_text(json.dumps(content), encoding="utf-8")
    words = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", "none.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1"}
    start = time.monotonic()
    done = subprocess.run(
        [*words, "run", "experiment.json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=70,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, folder, time.monotonic() - start)


def chaosgpu(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command of the package."""
    program = "import sys; from chaosgpu.cli.main import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def _kept(run: Run, name: str) -> None:
    out = os.environ.get("CHAOSGPU_GPU_OUT")
    if out:
        folder = (
            Path(out) / "runs" / name / run.record.name
        )  # the name that the record has is part of what an auditor checks
        shutil.copytree(run.record, folder, dirs_exist_ok=True, symlinks=True)
        (folder / "terminal.txt").write_text(run.said, encoding="utf-8")


@pytest.mark.parametrize(("careful", "verdict"), [(False, "deviated"), (True, "passed")])
def test_a_fill_breaks_the_fragile_service_and_not_the_careful_one(
    card: Card, tmp_path: Path, careful: bool, verdict: str
) -> None:
    name = "careful" if careful else "fragile"
    with service(card.uuid, careful=careful) as port:
        before = card.memory().used_mib
        run = play(tmp_path, experiment(card.uuid, port, leave_free_mib=NEEDS_MIB // 4))
        _kept(run, name)
        after = card.memory().used_mib
        assert _answers(port), "the service does not answer after the run"
    types = [entry["type"] for entry in run.ledger]
    notes.equals(f"chaos run, {name} service: verdict", run.verdict, verdict)
    notes.equals(f"chaos run, {name} service: MiB in use after, less before", after - before, 0, "MiB")
    notes.shown(f"chaos run, {name} service: from start to end", run.took_s, "s")
    notes.shown(f"chaos run, {name} service: lines of the ledger", len(types), "lines")
    active = [entry for entry in run.ledger if entry["type"] == "lease.active"]
    clean = [entry for entry in run.ledger if entry["type"] == "lease.clean"]
    assert len(active) >= 1
    assert all(entry["observed"] for entry in active), active
    assert len(clean) >= 1
    assert all(entry["restored"] for entry in clean), clean
    shown = chaosgpu(tmp_path, "runs", "show", "latest")
    notes.equals(
        f"chaos run, {name} service: exit code of runs show", shown.returncode, 3 if verdict == "deviated" else 0
    )
    assert "the chain holds" in shown.stdout, shown.stdout + shown.stderr
    notes.keep(f"run {name}", {"runs show": shown.stdout, "said": run.said[-4000:]})


@pytest.mark.parametrize("why", ["less than is free", "no such GPU"])
def test_a_fault_that_cannot_take_hold_does_not_pass(card: Card, tmp_path: Path, why: str) -> None:
    with service(card.uuid, careful=True) as port:
        room = card.memory().free // MIB
        uuid = card.uuid if why == "less than is free" else "GPU-00000000-0000-4000-8000-000000000000"
        run = play(tmp_path, experiment(uuid, port, leave_free_mib=room + 1024))
        _kept(run, why.replace(" ", "-"))
    notes.equals(f"chaos run, {why}: verdict", run.verdict, "inconclusive")
    notes.shown(f"chaos run, {why}: reason", str(run.ledger[-1].get("reason"))[:300])
    assert run.status != 0


@pytest.mark.timeout(100)
def test_a_whole_run_killed_with_kill_9_leaves_the_card_free(card: Card, tmp_path: Path) -> None:
    """Controller, guard and renewer go at once; nobody is left who could undo but the host."""
    with service(card.uuid, careful=True) as port:
        before = card.memory().used_mib
        content = experiment(card.uuid, port, used_percent=90, duration_s=2)
        content["method"].append({"name": "wait", "type": "action", "provider": {
            "type": "python", "module": "gpu.asking", "func": "wait", "arguments": {"seconds": 60}}})  # fmt: skip
        (tmp_path / "experiment.json").write_text(json.dumps(content), encoding="utf-8")
        words = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", "none.yaml"]
        log = (tmp_path / "log").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        with subprocess.Popen(
            [*words, "run", "experiment.json"], cwd=tmp_path, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        ) as child:  # fmt: skip
            ledger = tmp_path / ".chaosgpu/runs/latest/ledger.jsonl"
            until(lambda: child.poll() is not None or _is_active(ledger), 25)
            seen = _is_active(ledger)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)
        log.close()
        assert seen, (tmp_path / "log").read_text(encoding="utf-8")
        active = next(json.loads(line) for line in ledger.read_text().splitlines() if '"lease.active"' in line)
        start = time.monotonic()
        taken = card.memory().used_mib - before
        took = until(lambda: card.memory().used_mib <= before, 30)
        ended = until(lambda: card.state(active["lease"]) == "clean", 6)
        shown = chaosgpu(tmp_path, "runs", "show", "latest")
    notes.keep("run killed", {"active": active, "taken": taken, "took": took, "shown": shown.stdout})
    notes.shown("whole run killed: MiB taken when killed", taken, "MiB")
    assert took is not None
    # 2 s asked, 10 s of margin until the host comes by itself, and its 5 s; the kill came after the lease began.
    notes.at_most("whole run killed: free after the kill", took, "s", 2 + 10 + 5)
    notes.equals("whole run killed: exit code of runs show", shown.returncode, 4)
    assert ended is not None
    assert time.monotonic() - start < 60


def _is_active(ledger: Path) -> bool:
    return ledger.exists() and '"lease.active"' in ledger.read_text(encoding="utf-8")
