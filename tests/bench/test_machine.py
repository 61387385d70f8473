# SPDX-License-Identifier: Apache-2.0
"""Where a machine cannot have test hosts, their tests are left out with a clear line, but never in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import refuse_so_many
from bench.plan import ROOT, BenchFailed


def _collect(tmp_path: Path, *, ci: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/bench"]
    # No program is found here, so none of those that hosts need.
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ci}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_without_the_programs_they_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    done = _collect(tmp_path, ci="")
    assert done.returncode == 0
    assert "tests on test hosts were left out. Test hosts need" in done.stdout
    assert "test_sources.py" in done.stdout
    assert "test_agent.py" not in done.stdout


def test_in_ci_that_is_an_error(tmp_path: Path) -> None:
    done = _collect(tmp_path, ci="true")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "in CI they may not be left out. Test hosts need" in done.stderr + done.stdout


def test_more_hosts_than_the_kernel_lets_watch_files_are_refused_before_any_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    monkeypatch.setattr("bench.machine._WATCHES", limit)
    refuse_so_many(8)
    with pytest.raises(BenchFailed, match=r"32 hosts .* 128 times: sysctl -w fs.inotify.max_user_instances=680"):
        refuse_so_many(32)
