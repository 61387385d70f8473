# SPDX-License-Identifier: Apache-2.0
"""What a fault on a unit leaves word of is on the disk before the deed: after a power loss the undo goes by it."""

import subprocess
import sys
from pathlib import Path

from chaosgpu.selfdrill import strace

_MARKS = """
import os, sys
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.unit_life import mark
mark(Context(None, SystemClock(), lease_dir=sys.argv[1]), "frozen")
os.access("/the-deed", os.F_OK)
"""
# The control: the same word, as quickly as it can be left.
_HASTES = """
import os, sys
os.close(os.open(f"{sys.argv[1]}/unit-frozen", os.O_WRONLY | os.O_CREAT))
os.access("/the-deed", os.F_OK)
"""


def _made_durable(program: str, folder: Path) -> bool:
    """Tell whether the word's name was synced, after it was made and before the deed."""
    lease, out = folder / "lease", folder / "trace"
    lease.mkdir()
    watch = [strace.find_strace(), "-y", "-s", "300", "-o", str(out), "-e", "trace=openat,open,fsync,access", "--"]
    subprocess.run([*watch, sys.executable, "-c", program, str(lease)], check=True, timeout=60)
    rows = out.read_text().splitlines()
    made = next(number for number, row in enumerate(rows) if "/unit-frozen" in row and "O_CREAT" in row)
    deed = next(number for number, row in enumerate(rows) if "/the-deed" in row)
    return any(f"<{lease}>) = 0" in row for row in rows[made:deed] if row.startswith("fsync("))


def test_the_word_of_a_freeze_is_durable_before_the_freeze(tmp_path: Path) -> None:
    assert _made_durable(_MARKS, tmp_path)


def test_the_control_a_word_in_haste_is_not(tmp_path: Path) -> None:
    assert not _made_durable(_HASTES, tmp_path)
