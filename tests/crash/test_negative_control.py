# SPDX-License-Identifier: Apache-2.0
"""The same kills on the order that others use: it must leave residue, else the other test proves nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crash import orders, strace
from crash.strace import Call


def _run(order: str, folder: Path, kill_at: Call | None) -> Path:
    out = folder / "trace"
    out.unlink(missing_ok=True)
    (folder / "record").unlink(missing_ok=True)
    (folder / "file").write_text("well")
    (folder / "crash-agent.json").write_text(json.dumps({"strace": strace.command(out, kill_at), "out": str(out)}))
    subprocess.run([sys.executable, "-B", orders.__file__, order, str(folder)], check=False, timeout=20)
    return out


def _host_acts(folder: Path) -> bool:
    """Give the timer its time, then the sweep, which goes by the record; tell whether the file is broken still."""
    end_s = time.monotonic() + 1.0
    while (folder / "file").read_text() != "well" and time.monotonic() < end_s:
        if (folder / "record").exists() and not _timer_runs(folder):
            (folder / "file").write_text((folder / "record").read_text())
        time.sleep(0.02)
    return (folder / "file").read_text() != "well"


def _timer_runs(folder: Path) -> bool:
    wanted = str(folder / "file").encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize(("order", "leaves"), [("fault-first", True), ("record-first", False)])
def test_only_the_order_fault_then_record_then_timer_leaves_residue(order: str, leaves: bool, tmp_path: Path) -> None:
    planned = strace.changing(strace.calls(_run(order, tmp_path, None)))
    _host_acts(tmp_path)
    assert len(planned) >= 8, planned
    residue = []
    for call in planned:
        out = _run(order, tmp_path, call)
        assert strace.hit(out, call), f"{call} was not killed"
        if _host_acts(tmp_path):
            residue.append(call)
    assert bool(residue) == leaves, residue
