# SPDX-License-Identifier: Apache-2.0
"""The same kills on the order that others use: it must leave residue, else the other test proves nothing."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chaosgpu.selfdrill import failing, strace
from chaosgpu.selfdrill.strace import Call
from crash import orders


def _run(order: str, folder: Path, command: Callable[[Path], list[str]]) -> Path:
    out = folder / "trace"
    out.unlink(missing_ok=True)
    (folder / "record").unlink(missing_ok=True)
    (folder / "file").write_text("well")
    (folder / "strike-agent.json").write_text(json.dumps({"strace": command(out), "out": str(out)}))
    subprocess.run(
        [sys.executable, "-B", "-S", orders.__file__, order, str(folder)], check=False, timeout=20, capture_output=True
    )
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
    planned = strace.changing(strace.calls(_run(order, tmp_path, strace.counting)))
    _host_acts(tmp_path)
    assert len(planned) >= 8, planned
    residue = []
    for call in planned:
        out = _run(order, tmp_path, partial(strace.killing, at=call))
        assert strace.hit(out, call), f"{call} was not killed"
        if _host_acts(tmp_path):
            residue.append(call)
    assert bool(residue) == leaves, residue


@pytest.mark.parametrize(("order", "leaves"), [("fault-first", True), ("record-first", False)])
@pytest.mark.parametrize("lasting", [False, True])
def test_only_that_order_leaves_residue_where_calls_fail(
    order: str, leaves: bool, lasting: bool, tmp_path: Path
) -> None:
    traced = strace.calls(_run(order, tmp_path, partial(strace.watching, names=tuple(failing.ERRORS))))
    _host_acts(tmp_path)
    planned = [(call, failing.ERRORS[call.name][-1]) for call in traced if _own(call)]
    assert {"openat", "write", "fsync"} <= {call.name for call, _ in planned}, planned
    residue = []
    for call, error in planned:
        out = _run(order, tmp_path, partial(strace.failing, at=call, error=error, lasting=lasting))
        assert strace.failed(out, call), f"{call} did not fail"
        if _host_acts(tmp_path):
            residue.append(call)
    assert bool(residue) == leaves, residue


def _own(call: Call) -> bool:
    """Tell whether it works on the file or its record, or starts the timer: not how Python finds its modules."""
    return call.name in failing.ERRORS and (
        call.name in ("vfork", "clone", "clone3", "fork")
        or re.search(r"/(file|record|record\.new)[>\"]", call.text) is not None
    )
