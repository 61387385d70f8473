# SPDX-License-Identifier: Apache-2.0
"""The guard with the real agent and real faults on simulated GPUs: what is put in is put back, whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.sim.instance import Instance, create
from support.chaos import GUARD, Chaos, Played, experiment, python


class Rack:
    """Simulated GPUs and an agent's home in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sim: Instance = create(folder / "sim", "h100", 2, seed=7)
        home = folder / "agent"
        home.mkdir()
        policy = {"version": 1, "permit": ["gpu.*"], "max_duration_s": 600}
        (home / "policy.json").write_text(json.dumps(policy))
        self.environment = self.sim.environment() | {"CHAOSGPU_AGENT_HOME": str(home)}
        self.gpu = str(self.gpus()[0]["identity"]["uuid"])

    def gpus(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(json.dumps(self.sim.show()))
        return found

    def settings(self) -> list[dict[str, Any]]:
        """Return every field that a fault may change: all but what the passing of time changes."""
        return [{key: value for key, value in gpu.items() if key != "readings"} for gpu in self.gpus()]

    def used_mib(self) -> list[float]:
        return [gpu["readings"]["used_mib"] for gpu in self.gpus()]

    def chaos(self, method: list[dict[str, Any]], **changes: Any) -> Chaos:
        content = experiment(method, **({"controls": [GUARD]} | changes))
        return Chaos(self.folder, content, ignore=(), **self.environment)

    def action(self, func: str, **arguments: object) -> dict[str, Any]:
        given: dict[str, Any] = {"gpu": self.gpu, "duration_s": 20} | arguments
        return python(func, func, module="chaosgpu.gpu.actions", **given)

    def wait(self) -> dict[str, Any]:
        return python("wait", "wait", seconds=20, mark=str(self.folder / "waiting"))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "import sys; from chaosgpu.cli.main import main; sys.exit(main())", *words],
            cwd=self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )


@pytest.fixture
def rack(tmp_path: Path) -> Rack:
    return Rack(tmp_path)


def _stopped(rack: Rack, stop: signal.Signals) -> Played:
    chaos = rack.chaos([rack.action("fill_memory", used_percent=80), rack.action("cap_power", watts=400), rack.wait()])
    chaos.wait_for(rack.folder / "waiting", 30)
    assert rack.used_mib()[0] > 60_000
    chaos.send(stop)
    return chaos.finish(30)


def test_a_run_leaves_the_gpus_equal_field_by_field_and_the_ledger_shows_both_readings(rack: Rack) -> None:
    before = rack.settings()
    played = rack.chaos(
        [rack.action("fill_memory", used_percent=80), rack.action("cap_power", watts=400)],
    ).finish(60)

    assert played.status == 0, played.said
    assert played.verdict[0] == "passed"
    assert rack.settings() == before
    assert rack.used_mib() == [0, 0]
    active = [entry for entry in played.ledger if entry["type"] == "lease.active"]
    clean = [entry for entry in played.ledger if entry["type"] == "lease.clean"]
    assert {entry["fault"] for entry in active} == {"gpu.memory.fill", "gpu.power.cap"}
    assert all(entry["observed"] for entry in active)
    assert all(entry["restored"] and entry["host_history"] for entry in clean)
    assert f"WILL HIT localhost {rack.gpu} (NVIDIA H100 80GB HBM3): fill_memory, cap_power" in played.said


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT], ids=lambda s: s.name)
def test_a_stop_signal_puts_the_gpus_back(rack: Rack, stop: signal.Signals) -> None:
    before = rack.settings()
    played = _stopped(rack, stop)

    assert played.status == 1
    assert played.verdict == ("inconclusive", f"stopped by {stop.name}")
    assert rack.settings() == before
    assert rack.used_mib() == [0, 0]
    assert played.types.count("lease.clean") == 2
    assert {"signal", "run.finished"} <= set(played.types)
    assert played.journal["status"] == "interrupted"
    assert played.journal["interruption"]["name"] == stop.name
    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"]


def test_after_kill_9_the_keeper_puts_the_gpus_back_and_the_run_is_shown_as_lost(rack: Rack) -> None:
    before = rack.settings()
    soon = python("soon", "set_margin", seconds=1)
    method = [soon, rack.action("fill_memory", used_percent=80, duration_s=2), rack.wait()]
    chaos = rack.chaos(method)
    chaos.wait_for(rack.folder / "waiting", 30)
    running = rack.command("runs", "show")
    assert (running.returncode, "verdict   running" in running.stdout) == (6, True)
    chaos.send(signal.SIGKILL)
    chaos.finish(5)

    deadline = time.monotonic() + 8  # duration, margin, and the 5 s of its deadline class
    while rack.used_mib() != [0, 0]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shown = rack.command("runs", "show")
    assert shown.returncode == 4
    assert "inconclusive: the run was lost" in shown.stdout
    assert "on the host it is now: clean" in shown.stdout
    assert "(lost)" in rack.command("runs").stdout
    assert rack.settings() == before


def test_an_operator_who_undoes_by_hand_makes_the_run_inconclusive(rack: Rack) -> None:
    chaos = rack.chaos([rack.action("fill_memory", used_percent=80), {**rack.wait(), "provider": _short_wait(rack)}])
    chaos.wait_for(rack.folder / "waiting", 30)
    undone = rack.command("agent", "undo", "--all")
    assert undone.returncode == 0
    assert json.loads(undone.stdout)["leases"][0]["state"] == "clean"
    played = chaos.finish(30)

    assert played.status == 1
    assert played.verdict[0] == "inconclusive"
    assert "was not in force to the end: somebody undid it" in played.verdict[1]


def _short_wait(rack: Rack) -> dict[str, Any]:
    provider: dict[str, Any] = rack.wait()["provider"]
    return provider | {"arguments": {"seconds": 3, "mark": str(rack.folder / "waiting")}}


def test_halt_stops_runs_from_starting_until_resume(rack: Rack) -> None:
    assert rack.command("agent", "halt").returncode == 2
    assert rack.command("agent", "halt", "--reason", "night shift").returncode == 0
    played = rack.chaos([rack.action("fill_memory", used_percent=80)]).finish(30)
    assert played.status == 1
    assert "night shift" in played.verdict[1]
    assert played.journal["run"] == []

    assert rack.command("agent", "resume", "--reason", "settled").returncode == 0
    assert rack.chaos([rack.action("fill_memory", used_percent=80)]).finish(40).status == 0


def test_a_second_run_on_the_same_gpu_is_refused_and_the_first_is_not_disturbed(rack: Rack, tmp_path: Path) -> None:
    first = rack.chaos([rack.action("fill_memory", used_percent=80), {**rack.wait(), "provider": _short_wait(rack)}])
    first.wait_for(rack.folder / "waiting", 30)
    other = tmp_path / "other"
    other.mkdir()
    content = experiment([rack.action("fill_memory", used_percent=90)], controls=[GUARD])
    second = Chaos(other, content, ignore=(), **rack.environment).finish(30)

    assert second.status == 1
    assert second.verdict[0] == "inconclusive"
    assert "gpu.memory.fill on localhost was refused" in second.verdict[1]
    assert first.finish(30).verdict[0] == "passed"
