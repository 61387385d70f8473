# SPDX-License-Identifier: Apache-2.0
"""Two ways to stop a unit with an undo on a timer, for the control: the order that others use, and ours.

unit_orders.py fault-first FOLDER: fault, record, timer. unit_orders.py record-first FOLDER: record, timer, fault.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from chaosgpu.selfdrill import strace
from chaosgpu.selfdrill.entry import look
from crash import unit_look
from crash.unit_victims import UNIT

_WITHIN_S = 120.0  # on a busy machine
_HOST_ACTS_S = 4.0
_TIMER = ("systemd-run", "--quiet", "--collect", "--unit=strike-control", "--on-active=0.5s")


def _ask(*words: str) -> None:
    subprocess.run(words, check=False, timeout=_WITHIN_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fault(_: Path) -> None:
    """Stop it."""
    _ask("systemctl", "stop", UNIT)


def record(folder: Path) -> None:
    """Write down that it was up, durable."""
    descriptor = os.open(folder / "record.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, b"active")
    os.fsync(descriptor)
    os.close(descriptor)
    (folder / "record.new").rename(folder / "record")


def timer(_: Path) -> None:
    """Have it started in half a second, whatever becomes of us."""
    _ask(*_TIMER, "--timer-property=AccuracySec=50ms", "systemctl", "start", UNIT)


ORDERS = {"fault-first": (fault, record, timer), "record-first": (record, timer, fault)}


def left_at(order: str, folder: Path) -> Iterator[tuple[str, bool, bool]]:
    """Kill the script at each call that changes something; yield the call, whether it hit, whether the unit is down."""
    planned = strace.changing(strace.calls(_run(order, folder, strace.counting(folder / "trace"))))
    _stays_down(folder)
    for call in planned:
        out = _run(order, folder, strace.killing(folder / "trace", call))
        yield f"{call.name}#{call.number}", strace.hit(out, call) is not None, _stays_down(folder)
        _ask("systemctl", "start", UNIT)


def _run(order: str, folder: Path, command: list[str]) -> Path:
    out = folder / "trace"
    for path in (out, folder / "record"):
        path.unlink(missing_ok=True)
    order_for_strace = json.dumps({"strace": command, "out": str(out)})
    (folder / "strike-agent.json").write_text(order_for_strace, encoding="utf-8")
    words = [sys.executable, "-B", "-S", __file__, order, str(folder)]
    subprocess.run(words, check=False, timeout=_WITHIN_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def _stays_down(folder: Path) -> bool:
    """Give the timer its time, then the sweep, which goes by the record; tell whether the unit is down still."""
    end_s = time.monotonic() + _HOST_ACTS_S
    while time.monotonic() < end_s and (not _is_up() or _timer_waits()):
        if (folder / "record").exists() and not _timer_waits() and not _is_up():
            _ask("systemctl", "start", UNIT)
        time.sleep(0.1)
    return not _is_up()


def _is_up() -> bool:
    return unit_look.ask("show", "--property=ActiveState", "--value", UNIT).strip() == "active"


def _timer_waits() -> bool:
    return (unit_look.TRANSIENT / "strike-control.timer").exists()


if __name__ == "__main__":
    look("agent", sys.argv[2])
    for step in ORDERS[sys.argv[1]]:
        step(Path(sys.argv[2]))
