# SPDX-License-Identifier: Apache-2.0
"""The command `chaosgpu` itself: its subcommands, its errors, its log file."""

import argparse
import io
import subprocess
import sys
from pathlib import Path

import pytest

import chaosgpu
import chaosgpu.cli.main as command
from chaosgpu.cli import lint
from chaosgpu.errors import Refused

CLI = Path(command.__file__).parent


def chaosgpu_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    path = Path(sys.executable).with_name("chaosgpu")
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_it_prints_its_version() -> None:
    ended = chaosgpu_command("--version")
    assert (ended.returncode, ended.stdout) == (0, f"chaosgpu {chaosgpu.__version__}\n")


def test_help_lists_each_subcommand_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    there = {path.stem for path in CLI.glob("*.py") if "def add_parser(" in path.read_text(encoding="utf-8")}
    assert "lint" in there
    assert [name for name in sorted(there) if f"\n    {name.replace('_', '-')} " not in shown] == []


def test_an_unknown_subcommand_ends_with_2_and_says_what_there_is() -> None:
    ended = chaosgpu_command("lnt")
    assert ended.returncode == 2
    assert "lint" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_log_file_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    ended = chaosgpu_command("--log-file", str(tmp_path / "none" / "log"), "lint", "x.yaml")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"The log file {tmp_path}/none/log could not be opened:")
    assert ended.stderr.count("\n") == 1


def test_an_error_is_one_sentence_on_standard_error_and_has_its_time_in_the_log_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import sys, argparse\n"
        "import chaosgpu.cli.lint as lint, chaosgpu.cli.main as command\n"
        "from chaosgpu.errors import Refused\n"
        "def refuse(args: argparse.Namespace) -> int:\n"
        "    raise Refused('The host said no. Ask it why.')\n"
        "lint.run = refuse\n"
        "sys.exit(command.main(sys.argv[1:]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "--log-file", str(log), "lint", "x.yaml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "The host said no. Ask it why.\n")
    [line] = log.read_text().splitlines()
    assert line.endswith("ERROR The host said no. Ask it why.")
    assert line.startswith("20")


def test_a_second_call_in_one_process_writes_to_the_standard_error_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: argparse.Namespace) -> int:
        raise Refused("The host said no. Ask it why.")

    monkeypatch.setattr(lint, "run", refuse)
    for _ in range(2):
        now = io.StringIO()
        monkeypatch.setattr(sys, "stderr", now)
        assert command.main(["lint", "x.yaml"]) == 2
        assert now.getvalue() == "The host said no. Ask it why.\n"
