# SPDX-License-Identifier: Apache-2.0
"""How many guards refuse in how many states of their input: the table of `tests/unit/guards`, played once."""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from figures import Figure, exactly, not_measured

__all__ = ["figures"]

_TABLE = "tests/unit/guards/test_every_guard.py"
_TEST = "test_the_guard_refuses"
_WITHIN_S = 900


def figures() -> list[Figure]:
    """Play the table and count what refused and what did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "guards.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-k", _TEST, f"--junit-xml={report}", _TABLE]
        try:
            subprocess.run(command, timeout=_WITHIN_S, check=False, stdout=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return [not_measured("guards that refuse", "pairs", "all", f"it took longer than {_WITHIN_S} s")]
        if not report.exists():
            return [not_measured("guards that refuse", "pairs", "all", "the table could not be played")]
        cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314 (pytest has just written it)
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    guards = {str(case.get("name")).partition("[")[2].rpartition("-")[0] for case in cases}
    return [
        Figure("guards", len(guards), "guards", "", None),
        Figure("guards x states of their input", len(cases), "pairs", "", None),
        exactly("guards that did not refuse", failed, "pairs", 0),
    ]
