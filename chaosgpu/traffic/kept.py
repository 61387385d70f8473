# SPDX-License-Identifier: Apache-2.0
"""Keeps in the run's record what a probe has read of another process's series: no verdict may rest on what is gone."""

import json
from datetime import datetime
from pathlib import Path

from chaosgpu.errors import NoGuard
from chaosgpu.lease.run import current_run
from chaosgpu.traffic.series import Series

__all__ = ["keep"]

# What was before the run tells a reader what is usual.
_BEFORE_S = 60.0


def keep(series: Series) -> Path | None:
    """Copy the seconds around this run to `series/traffic-NAME.jsonl`, anew each time; None outside a guarded run."""
    try:
        run = current_run()
    except NoGuard:
        return None
    since = _began(run.ledger.path) - _BEFORE_S
    kept = []
    for line in series.path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line, while it is being written
        if "second" not in entry or entry["at"] >= since:
            kept.append(line)
    path = run.directory / "series" / f"traffic-{series.name}.jsonl"
    partial = path.with_name(f".{path.name}")
    partial.touch(mode=0o600)
    partial.write_text("\n".join(kept) + "\n")
    partial.replace(path)
    return path


def _began(ledger: Path) -> float:
    """Return when the run was planned: its ledger's first line."""
    try:
        with ledger.open() as lines:
            return datetime.fromisoformat(json.loads(lines.readline())["at"]).timestamp()
    except (OSError, ValueError, KeyError):
        return 0.0
