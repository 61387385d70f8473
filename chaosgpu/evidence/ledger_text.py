# SPDX-License-Identifier: Apache-2.0
"""A run's ledger as it stands in a bundle, where a line that held a secret is shown without it, beside its digest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from chaosgpu.fleet.values import JsonMapping, JsonObject
from chaosgpu.lease.chain import FIRST, digest, parse, verify_chain

__all__ = ["LedgerText", "read_ledger", "withhold"]

_WITHHELD = ("withheld_sha256", "entry")


@dataclass(frozen=True)
class LedgerText:
    """A ledger's entries, the digest of each line as it was written, and what is wrong with it."""

    entries: tuple[JsonObject, ...]
    digests: tuple[str, ...]
    withheld: int
    problems: tuple[str, ...]
    torn: int = 0

    @property
    def finished(self) -> JsonObject | None:
        """Return its `run.finished`, if it is its last line."""
        last = self.entries[-1] if self.entries else None
        return last if last is not None and last.get("type") == "run.finished" else None

    @property
    def head(self) -> str:
        """Return the digest of its last line, by which the site's log knows it."""
        return self.digests[-1] if self.digests else ""


def withhold(line: bytes, entry: JsonMapping) -> bytes:
    """Return what stands in a bundle for a line with a secret: its digest, and the entry without the secret."""
    return _encode({"withheld_sha256": digest(line), "entry": dict(entry)})


def read_ledger(source: bytes) -> LedgerText:
    """Read and check a ledger; its chain is checked by the digests of the lines as they were written."""
    *lines, tail = source.split(b"\n")
    entries, digests, problems, withheld = [], [], [], 0
    for number, line in enumerate(lines, start=1):
        entry, one = _entry(line)
        if entry is None:
            problems.append(f"Line {number} of the ledger is not a JSON object in the one form that ledgers have.")
            entry = {}
        withheld += one != digest(line)
        entries.append(entry)
        digests.append(one)
    # Its own rules see the lines as they were: where one is withheld, by what the line behind it says of it.
    if withheld:
        problems += _linked(entries, digests)
    else:
        problems += [f"The ledger: {sentence}" for sentence in verify_chain(lines)]
    return LedgerText(tuple(entries), tuple(digests), withheld, tuple(problems), len(tail))


def _linked(entries: Sequence[JsonObject], digests: Sequence[str]) -> list[str]:
    """Check the chain of a ledger with withheld lines."""
    problems, before, run, latest = [], FIRST, entries[0].get("run"), ""
    for number, (entry, one) in enumerate(zip(entries, digests, strict=True), start=1):
        at = str(entry.get("at"))
        if (entry.get("seq"), entry.get("prev"), entry.get("run")) != (number, before, run) or at < latest:
            problems.append(f"Line {number} of the ledger does not follow from the line before it.")
        if entry.get("type") == "run.finished" and number != len(entries):
            problems.append(f"In the ledger, lines follow run.finished in line {number}.")
        before, latest = one, at
    return problems


def _entry(line: bytes) -> tuple[JsonObject | None, str]:
    """Return the entry of a line and the digest of the line as it was written."""
    entry = parse(line)
    try:
        if entry is None or _encode(entry) != line:
            return None, digest(line)
    except ValueError:
        return None, digest(line)
    inner, of = entry.get("entry"), entry.get("withheld_sha256")
    if tuple(entry) == _WITHHELD and isinstance(inner, dict) and isinstance(of, str):
        return inner, of
    return entry, digest(line)


def _encode(entry: JsonMapping) -> bytes:
    return json.dumps(dict(entry), ensure_ascii=False, allow_nan=False).encode()
