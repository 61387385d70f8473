# SPDX-License-Identifier: Apache-2.0
"""Two ways to break a thing with an undo on a timer, for the control: the order that others use, and ours.

unit_orders.py FAULT fault-first FOLDER: fault, record, timer. unit_orders.py FAULT record-first FOLDER: record, timer,
fault. FAULT is the one whose like is done: a unit stopped, its process killed, a package brought to another version.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.selfdrill import strace
from chaosgpu.selfdrill.entry import look
from crash import package_look, unit_look
from crash.unit_victims import DEB, FIRST, INDEX, OLD, PACKAGE, UNIT

_WITHIN_S = 120.0  # on a busy machine
_HOST_ACTS_S = 4.0
_TIMER = ("systemd-run", "--quiet", "--collect", "--unit=strike-control", "--on-active=0.5s")


@dataclass(frozen=True)
class Thing:
    """What breaks it, what mends it, and a look at it."""

    breaks: tuple[str, ...]
    mends: tuple[str, ...]
    is_well: Callable[[], bool]


def _is_up() -> bool:
    return unit_look.ask("show", "--property=ActiveState", "--value", UNIT).strip() == "active"


def _is_old() -> bool:
    return package_look.packages()[PACKAGE] == f"{OLD} install ok installed"


def _install(version: str) -> tuple[str, ...]:
    return ("dpkg", "--install", "--force-downgrade", "--force-confold", DEB.format(version))


def _has_its_index() -> bool:
    return INDEX.exists() and INDEX.stat().st_size > len("empty\n") and _is_up()


def _in_pause(*words: str) -> tuple[str, ...]:
    return ("sh", "-c", f"systemctl stop {UNIT}; {' '.join(words)}; systemctl start {UNIT}")


_ASIDE = INDEX.with_name("aside")

THINGS = {
    "unit.files.vanish": Thing(
        _in_pause("mv", str(INDEX), str(_ASIDE)),
        _in_pause(f"[ ! -e {_ASIDE} ] ||", "mv", str(_ASIDE), str(INDEX)),
        _has_its_index,
    ),
    "unit.stop": Thing(("systemctl", "stop", UNIT), ("systemctl", "start", UNIT), _is_up),
    "gpu.process.kill": Thing(("systemctl", "kill", "--signal=KILL", UNIT), ("systemctl", "restart", UNIT), _is_up),
    "package.install": Thing(_install(FIRST), _install(OLD), _is_old),
}


def _ask(*words: str) -> None:
    subprocess.run(words, check=False, timeout=_WITHIN_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fault(thing: Thing, _: Path) -> None:
    """Break it."""
    _ask(*thing.breaks)


def record(_: Thing, folder: Path) -> None:
    """Write down that it was well, durable."""
    descriptor = os.open(folder / "record.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, b"well")
    os.fsync(descriptor)
    os.close(descriptor)
    (folder / "record.new").rename(folder / "record")


def timer(thing: Thing, _: Path) -> None:
    """Have it mended in half a second, whatever becomes of us."""
    _ask(*_TIMER, "--timer-property=AccuracySec=50ms", *thing.mends)


ORDERS = {"fault-first": (fault, record, timer), "record-first": (record, timer, fault)}


def left_at(order: str, like: str, folder: Path) -> Iterator[tuple[str, bool, bool]]:
    """Kill the script at each call that changes something; yield the call, whether it hit, whether it stays broken."""
    thing, words = THINGS[like], (like, order, str(folder))
    planned = strace.changing(strace.calls(_run(words, folder, strace.counting(folder / "trace"))))
    _stays_broken(thing, folder)
    for call in planned:
        out = _run(words, folder, strace.killing(folder / "trace", call))
        yield f"{call.name}#{call.number}", strace.hit(out, call) is not None, _stays_broken(thing, folder)
        _ask(*thing.mends)


def _run(words: tuple[str, ...], folder: Path, command: list[str]) -> Path:
    out = folder / "trace"
    for path in (out, folder / "record"):
        path.unlink(missing_ok=True)
    order_for_strace = json.dumps({"strace": command, "out": str(out)})
    (folder / "strike-agent.json").write_text(order_for_strace, encoding="utf-8")
    script = [sys.executable, "-B", "-S", __file__, *words]
    subprocess.run(script, check=False, timeout=_WITHIN_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def _stays_broken(thing: Thing, folder: Path) -> bool:
    """Give the timer its time, then the sweep, which goes by the record; tell whether it is broken still."""
    end_s = time.monotonic() + _HOST_ACTS_S
    while time.monotonic() < end_s and (not thing.is_well() or _goes_on()):
        if (folder / "record").exists() and not _goes_on() and not thing.is_well():
            _ask(*thing.mends)
        time.sleep(0.1)
    return not thing.is_well()


def _goes_on() -> bool:
    """Tell whether the timer waits, or a change that outlived the script is under way."""
    return (unit_look.TRANSIENT / "strike-control.timer").exists() or any(package_look.at_work())


if __name__ == "__main__":
    look("agent", sys.argv[3])
    for step in ORDERS[sys.argv[2]]:
        step(THINGS[sys.argv[1]], Path(sys.argv[3]))
