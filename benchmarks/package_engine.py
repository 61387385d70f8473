# SPDX-License-Identifier: Apache-2.0
"""What was measured of the package engine: kept lines count for the sources that they were measured with."""

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import safety_runs

sys.path[:0] = [str(safety_runs.ROOT), str(safety_runs.ROOT / "tests")]

from crash import depends  # noqa: E402 (in the tests' folder, wherever the tree lies)

__all__ = ["digest", "lines"]


@cache  # what is put on the hosts at the start counts, whatever becomes of the tree meanwhile
def digest() -> str:
    """Return a digest of the package engine and its fault."""
    agent = safety_runs.ROOT / "chaosgpu" / "agent"
    total = hashlib.sha256()
    for path in sorted([*(agent / "packages").glob("*.py"), agent / "faults" / "package_install.py"]):
        total.update(depends.said(path.read_text(encoding="utf-8")).encode())
    return total.hexdigest()[:16]


def lines(kept: Path) -> list[dict[str, Any]]:
    """Return what is in a file of kept lines and counts."""
    texts = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    return [line for line in map(json.loads, texts) if line["agent"] == digest()]
