# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu sim`: run anything on simulated GPUs, and look after named ones."""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.cli import sim
from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.sim import instance

_MAIN = """
import argparse, sys
from chaosgpu.cli import sim
parser = argparse.ArgumentParser()
sim.add_parser(parser.add_subparsers())
sys.exit(sim.run(parser.parse_args()))
"""


_ASK_DRIVER = """
import pynvml
try:
    pynvml.nvmlInit()
    print(pynvml.nvmlSystemGetDriverVersion())
except pynvml.NVMLError as error:
    print(type(error).__name__)
"""


def call(*arguments: str) -> int:
    """Call `chaosgpu sim` in this process."""
    parser = argparse.ArgumentParser()
    sim.add_parser(parser.add_subparsers())
    return sim.run(parser.parse_args(["sim", *arguments]))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep named instances in a folder of the test."""
    monkeypatch.setattr(instance, "default_directory", lambda: tmp_path / "sim")
    monkeypatch.delenv("CHAOSGPU_SIM_STATE", raising=False)
    return tmp_path / "sim"


def test_a_command_finds_the_gpus_and_its_exit_code_comes_back(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert call("run", "--profile", "l40s", "--gpus", "3", "--", "sh", "-c", "nvidia-smi -L; exit 7") == 7
    assert capfd.readouterr().out.count("NVIDIA L40S") == 3
    assert list(home.iterdir()) == []


def test_a_command_that_a_signal_ends_gives_the_code_of_the_shell(home: Path) -> None:
    assert call("run", "--", "sh", "-c", "kill -KILL $$") == 128 + signal.SIGKILL
    assert list(home.iterdir()) == []


def test_signals_are_handed_on_and_the_state_is_removed() -> None:
    script = "trap 'echo stopping; exit 5' TERM; echo $CHAOSGPU_SIM_STATE; while :; do sleep 0.05; done"
    running = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "sim", "run", "--", "sh", "-c", script],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    state = Path(running.stdout.readline().strip())
    assert state.is_file()
    running.terminate()
    assert running.communicate(timeout=10)[0] == "stopping\n"
    assert running.returncode == 5
    assert not state.parent.exists()


def test_a_command_that_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(LabFailed, match="no-such-command could not be started: No such file"):
        call("run", "--", "no-such-command")
    with pytest.raises(BadArgument, match="no command to run"):
        call("run")
    assert not home.exists() or list(home.iterdir()) == []


def test_a_named_instance_lives_until_it_is_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("create", "rack1", "--profile", "t4", "--gpus", "2", "--device-nodes") == 0
    assert "export CHAOSGPU_SIM_STATE=" in capsys.readouterr().out
    assert (home / "rack1" / "dev" / "nvidia1").exists()
    assert call("set", "--name", "rack1", "--gpu", "1", "power_limit_mw=65000", "temperature_celsius=77") == 0
    assert call("inject", "--name", "rack1", "--gpu", "0", "lost") == 0
    assert call("show", "--name", "rack1") == 0
    shown = capsys.readouterr().out
    assert "Tesla T4" in shown
    assert "77 °C" in shown
    assert "power capped" in shown
    assert "lost" in shown
    assert call("show", "--name", "rack1", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gpus"][1]["settings"]["power_limit_mw"] == 65000
    assert document["gpus"][0]["counters"]["last_xid"] == 79
    assert call("remove", "rack1") == 0
    assert list(home.iterdir()) == []


def test_the_machine_is_set_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    call("create", "rack1")
    assert call("set", "--name", "rack1", "driver_loaded=0") == 0
    capsys.readouterr()
    call("show", "--name", "rack1", "--json")
    assert json.loads(capsys.readouterr().out)["system"]["faults"]["driver_loaded"] == 0


def test_the_instance_of_the_environment_is_meant_without_a_name(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("create", "rack1")
    monkeypatch.setenv("CHAOSGPU_SIM_STATE", str(home / "rack1" / "gpus.state"))
    assert call("set", "--gpu", "0", "compute_mode=2") == 0
    capsys.readouterr()
    assert call("show") == 0
    assert "compute prohibited" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "set CHAOSGPU_SIM_STATE"),
        (["show", "--name", "nobody"], "no simulated GPUs at"),
        (["show", "--name", "../etc"], "is no name for"),
        (["remove", "nobody"], "no simulated GPUs called nobody"),
        (["create", "rack1", "--gpus", "99"], "not 99"),
        (["create", "rack1", "--profile", "voodoo"], "no simulated GPU called 'voodoo'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises((BadArgument, LabFailed), match=message):
        call(*arguments)


def test_a_name_is_not_given_twice() -> None:
    call("create", "rack1")
    with pytest.raises(LabFailed, match=r"called rack1 already; `chaosgpu sim remove rack1` first"):
        call("create", "rack1")


def test_a_field_without_a_value_is_refused() -> None:
    call("create", "rack1")
    with pytest.raises(BadArgument, match="not of the form NAME=VALUE"):
        call("set", "--name", "rack1", "compute_mode")


def test_nothing_is_found_without_the_environment() -> None:
    script = _ASK_DRIVER
    clean = {name: value for name, value in os.environ.items() if name not in {"LD_LIBRARY_PATH", "CHAOSGPU_SIM_STATE"}}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=clean, check=True)
    assert "610.43.02" not in done.stdout
