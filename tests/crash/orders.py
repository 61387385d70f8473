# SPDX-License-Identifier: Apache-2.0
"""Two ways to break a file with an undo on a timer, for the control: the order that others use, and ours.

orders.py fault-first FOLDER: fault, record, timer. orders.py record-first FOLDER: record, timer, fault.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from chaosgpu.selfdrill.entry import look

TIMER = "import sys, time; from pathlib import Path; time.sleep(0.5); Path(sys.argv[1]).write_text('well')"


def fault(folder: Path) -> None:
    """Break it."""
    (folder / "file").write_text("broken")


def record(folder: Path) -> None:
    """Write down how it was, durable."""
    descriptor = os.open(folder / "record.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(descriptor, b"well")
    os.fsync(descriptor)
    os.close(descriptor)
    (folder / "record.new").rename(folder / "record")


def timer(folder: Path) -> None:
    """Have it put back in half a second, whatever becomes of us."""
    subprocess.Popen([sys.executable, "-S", "-c", TIMER, str(folder / "file")], start_new_session=True)


ORDERS = {"fault-first": (fault, record, timer), "record-first": (record, timer, fault)}

if __name__ == "__main__":
    look("agent", sys.argv[2])
    for step in ORDERS[sys.argv[1]]:
        step(Path(sys.argv[2]))
