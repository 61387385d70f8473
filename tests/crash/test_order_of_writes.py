# SPDX-License-Identifier: Apache-2.0
"""Word that is left is on the disk before the deed: after a power loss undo goes by it, and nobody is locked out."""

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
_CLAIMS = """
import sys
from chaosgpu.agent.claims import Claims, Owner
from chaosgpu.agent.clock import SystemClock
{before}
Claims(sys.argv[1], SystemClock()).take(["file:/x"], Owner("/home", "l1"), lambda _: None)
"""


def _traced(program: str, folder: Path) -> list[str]:
    """Run the program on a folder; return its calls that matter here."""
    lease, out = folder / "lease", folder / "trace"
    lease.mkdir()
    calls = "trace=openat,open,write,fsync,access,link,linkat"
    watch = [strace.find_strace(), "-y", "-s", "300", "-o", str(out), "-e", calls, "--"]
    subprocess.run([*watch, sys.executable, "-c", program, str(lease)], check=True, timeout=60)
    return out.read_text().splitlines()


def _made_durable(program: str, folder: Path) -> bool:
    """Tell whether the word's name was synced, after it was made and before the deed."""
    lease, rows = folder / "lease", _traced(program, folder)
    made = next(number for number, row in enumerate(rows) if "/unit-frozen" in row and "O_CREAT" in row)
    deed = next(number for number, row in enumerate(rows) if "/the-deed" in row)
    return any(f"<{lease}>) = 0" in row for row in rows[made:deed] if row.startswith("fsync("))


def test_the_word_of_a_freeze_is_durable_before_the_freeze(tmp_path: Path) -> None:
    assert _made_durable(_MARKS, tmp_path)


def test_the_control_a_word_in_haste_is_not(tmp_path: Path) -> None:
    assert not _made_durable(_HASTES, tmp_path)


def _claim_is_whole(program: str, folder: Path) -> bool:
    """Tell whether a claim's content was synced, after it was written and before it had its name."""
    rows = _traced(program, folder)
    written = next(number for number, row in enumerate(rows) if row.startswith("write(") and "file:/x" in row)
    named = next(number for number, row in enumerate(rows) if row.startswith("link"))
    return any("chaosgpu-claim-" in row and row.endswith("= 0") for row in rows[written:named] if "fsync(" in row)


def test_a_claim_is_whole_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    assert _claim_is_whole(_CLAIMS.format(before=""), tmp_path)


def test_the_control_a_claim_in_haste_is_not(tmp_path: Path) -> None:
    assert not _claim_is_whole(_CLAIMS.format(before="import os; os.fsync = lambda _: None"), tmp_path)
