# SPDX-License-Identifier: Apache-2.0
"""What a run came to, as one small object for whoever started it as a job: no secrets, no more than fits a screen."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.history import Past, load
from chaosgpu.lease.ledger import entries_of

__all__ = ["summary_of"]

_ENDED = ("host.returned", "host.cordoned", "host.quarantined", "host.unfinished")
_LONGEST = 200


def summary_of(directory: Path) -> JsonObject:
    """Read a run's directory: its verdict, what became of each host, and the digests of its records."""
    past = load(directory)
    entries = entries_of(directory)
    hosts = {host: _left(past, host) for host in _hosts(past)} | _ended(entries)
    reasons = {
        str(line["host"]): _short(line["reason"])
        for line in entries
        if line.get("type") in _ENDED and line.get("reason")
    }
    return {
        "run": directory.name,
        "title": past.title,
        "verdict": None if past.verdict is None else past.verdict.value,
        "reason": _short(past.reason),
        "exit_code": past.exit_code,
        "hosts": {**hosts},
        "reasons": {**reasons},
        "journal_sha256": _digest(directory / "journal.json"),
        "ledger_sha256": _digest(directory / "ledger.jsonl"),
        "directory": str(directory),
    }


def _hosts(past: Past) -> list[str]:
    return sorted({*past.hosts, *(lease.host for lease in past.leases)})


def _left(past: Past, host: str) -> str:
    """Say of a host without a lifecycle whether its leases have ended well."""
    open_there = [lease for lease in past.leases if lease.host == host and lease.open]
    return f"not restored: {open_there[0].fault} is {open_there[0].state}" if open_there else "restored"


def _ended(entries: Iterable[Mapping[str, JsonValue]]) -> dict[str, str]:
    """Return what the record says last of each host's lifecycle."""
    words = {"host.returned": "restored"}
    return {
        str(line.get("host")): words.get(str(line["type"]), str(line["type"]).removeprefix("host."))
        for line in entries
        if line.get("type") in _ENDED
    }


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _short(text: object) -> str:
    said = " ".join(str(text).split())
    return said if len(said) <= _LONGEST else said[:_LONGEST] + "…"
