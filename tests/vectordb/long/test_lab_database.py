# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu lab database`: a database for as long as a command runs, started again when it ends meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.cli.main import main

# What the command does: is right, kills the database, waits until it is right again.
_KILL = """
import os, signal
from pathlib import Path
from chaosgpu.vectordb import probes
url = os.environ["CHAOSGPU_LAB_DATABASE_URL"]
assert probes.canary_is_right(url, "chroma")
port = url.rpartition(":")[2]
def command(path):
    try:
        return (path / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""
[pid] = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()
         and f"--port\\0{port}\\0".encode() in command(path)]
os.kill(pid, signal.SIGKILL)
print(probes.ready_after_s(url, "chroma", within_s=40) > 0)
raise SystemExit(3)
"""


def test_a_killed_database_comes_back_and_the_commands_exit_code_is_the_end(tmp_path: Path) -> None:
    said = subprocess.run(
        [Path(sys.executable).with_name("chaosgpu"), "lab", "database", "chroma", "--directory", tmp_path / "db", "--",
         sys.executable, "-c", _KILL],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (said.returncode, said.stdout) == (3, "True\n"), said.stderr
    assert "has ended and is started again" in said.stderr
    assert said.stderr.endswith("lab: chroma is down\n")


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").write_text("x")
    assert main(["lab", "database", "chroma", "--directory", str(tmp_path), "--", "true"]) != 0
    assert (tmp_path / "precious").read_text() == "x"
    assert "is not empty and no folder of a lab" in capsys.readouterr().err
