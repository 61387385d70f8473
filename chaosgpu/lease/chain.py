# SPDX-License-Identifier: Apache-2.0
"""The rules of the ledger's chain, as a pure function over its lines."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

from chaosgpu.fleet.values import JsonObject

__all__ = ["FIRST", "digest", "parse", "verify_chain"]

FIRST = "0" * 64


def digest(line: bytes) -> str:
    """Return the SHA-256 of a raw line without its newline: what the next line carries as `prev`."""
    return hashlib.sha256(line).hexdigest()


def parse(line: bytes) -> JsonObject | None:
    """Read one line; None if it is not a JSON object."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def verify_chain(lines: Sequence[bytes]) -> list[str]:
    """Check the raw lines (without newlines) and return each problem as a sentence; none means the chain holds.

    The rules: each line is a JSON object; `seq` counts 1, 2, 3…; `prev` is the digest of the raw line before, and
    64 zeros in the first; `run` is the same in all; `at` never goes back; `type` is there; after `run.finished`
    nothing follows. What the chain cannot show: that the last lines were cut off, or that all of it was written anew.
    """
    problems: list[str] = []
    before, run, latest, finished = FIRST, None, None, None
    for number, line in enumerate(lines, start=1):
        entry = parse(line)
        if entry is None:
            problems.append(f"Line {number} is not a JSON object.")
            before = digest(line)
            continue
        run = entry.get("run") if run is None else run
        moment = _moment(entry.get("at"))
        problems += _linked(number, entry, before) + _complete(number, entry, run)
        if moment is not None and latest is not None and moment < latest:
            problems.append(
                f"Line {number} is older than the line before it: a line was moved, or the clock went back."
            )
        if finished is not None:
            problems.append(f"Line {number} comes after run.finished in line {finished}.")
        if entry.get("type") == "run.finished":
            finished = number
        before, latest = digest(line), moment or latest
    return problems


def _linked(number: int, entry: JsonObject, before: str) -> list[str]:
    """Check the count and the digest of the line before."""
    problems = []
    if entry.get("seq") != number:
        problems.append(f"Line {number} has seq {entry.get('seq')!r}: a line was taken out, put in or moved.")
    if entry.get("prev") != before:
        problems.append(f"Line {number} does not carry the digest of the line before it: one of them was changed.")
    return problems


def _complete(number: int, entry: JsonObject, run: object) -> list[str]:
    """Check what every line has."""
    problems = []
    if entry.get("run") != run or not isinstance(run, str):
        problems.append(f"Line {number} belongs to run {entry.get('run')!r}, the ledger to {run!r}.")
    if not isinstance(entry.get("type"), str):
        problems.append(f"Line {number} has no type.")
    if _moment(entry.get("at")) is None:
        problems.append(f"Line {number} has no time: {entry.get('at')!r}.")
    return problems


def _moment(source: object) -> datetime | None:
    """Read an RFC 3339 time with its zone."""
    try:
        moment = datetime.fromisoformat(source) if isinstance(source, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None
