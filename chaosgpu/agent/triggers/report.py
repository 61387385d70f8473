# SPDX-License-Identifier: Apache-2.0
"""What a drill of the triggers found: a table for a terminal, and JSON."""

import os
from statistics import median
from typing import List, Sequence

from chaosgpu.agent.triggers.drill import Drilled, Watched
from chaosgpu.agent.triggers.scene import Scene
from chaosgpu.agent.values import JsonObject

__all__ = ["as_json", "as_table"]

_HEAD = ("trigger alone", "what it is here", "leases", "median", "latest", "at most", "holds")
_AT_BOOT = "installed and enabled; only a reboot shows more (docs/self-drill.md)"


def as_json(scene: Scene, found: Drilled) -> JsonObject:
    """Return all of it."""
    host = os.uname()
    return {
        "host": host.nodename,
        "kernel": host.release,
        "agent": scene.agent.path,
        "systemd": None if scene.systemd is None else scene.systemd.version,
        "holds": found.holds,
        "triggers": [_line(one) for one in found.watched],
        "boot": {"installed": not found.why_not_at_boot, "why_not": found.why_not_at_boot},
        "left": [*found.left],
    }


def as_table(found: Drilled) -> str:
    """Return the lines for a person."""
    rows = [_HEAD, *(_row(one) for one in found.watched)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]
    lines.append(f"at boot: {found.why_not_at_boot or _AT_BOOT}")
    lines += [f"{one.trigger.name}: {seen.why_not}." for one in found.watched for seen in one.seen if seen.why_not]
    lines += [f"LEFT: {line}" for line in found.left]
    lines.append(
        "Each trigger alone undid its leases." if found.holds else "This host does not keep the promise: see above."
    )
    return "\n".join(lines) + "\n"


def _row(one: Watched) -> Sequence[str]:
    late = _late(one)
    middle, latest = (f"{median(late):.2f} s", f"{max(late):.2f} s") if late else ("-", "-")
    well = sum(not seen.why_not for seen in one.seen)
    bound = f"{one.trigger.bound_s:g} s"
    holds = "yes" if one.holds else "NO"
    return (one.trigger.name, one.trigger.what, f"{well} of {one.trigger.repetitions}", middle, latest, bound, holds)


def _late(one: Watched) -> List[float]:
    return [seen.late_s for seen in one.seen if seen.late_s is not None]


def _line(one: Watched) -> JsonObject:
    return {
        "trigger": one.trigger.name,
        "what": one.trigger.what,
        "leases": one.trigger.repetitions,
        "late_s": [round(late, 3) for late in _late(one)],
        "at_most_s": one.trigger.bound_s,
        "why_not": [seen.why_not for seen in one.seen if seen.why_not],
        "holds": one.holds,
    }
