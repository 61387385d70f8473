# SPDX-License-Identifier: Apache-2.0
"""The run's own append-only record on the controller: written and synced before the deed, chained, without secrets."""

import fcntl
import json
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from chaosgpu.errors import LedgerBroken
from chaosgpu.fleet.redaction import redact
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.appending import append_line, keep_torn_end
from chaosgpu.lease.chain import FIRST, digest, parse
from chaosgpu.lease.ids import stamp

__all__ = ["Ledger", "entries_of", "read_lines"]

_RESERVED = frozenset({"seq", "prev", "at", "run", "type"})
_WHOLE_FILE = 0  # what lockf takes for "to the end"


def read_lines(path: Path) -> tuple[list[bytes], bytes]:
    """Read a ledger: its whole lines without newlines, and the torn tail behind them."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise LedgerBroken(f"The ledger {path} could not be read: {error.strerror}.") from error
    return lines, tail


def entries_of(directory: Path) -> list[JsonObject]:
    """Read what a run's directory has on record, whether the run ended, lives or died; raise LedgerBroken if it cannot.

    A torn end and a line that is no JSON object are left out: `history.load` tells whether the record holds.
    """
    return _entries(directory / "ledger.jsonl")


def _entries(path: Path) -> list[JsonObject]:
    return [entry for line in read_lines(path)[0] if (entry := parse(line)) is not None]


class Ledger:
    """JSON lines with `seq`, `prev`, `at`, `run` and `type`; any thread and any process may append."""

    def __init__(self, path: Path, run: str, now: Callable[[], datetime]) -> None:
        self.path = path
        self._run = run
        self._now = now
        self._thread_lock = threading.RLock()
        # Set with `run.finished`: an activity that still hangs in the background may not write behind it.
        self.sealed = False

    def append(self, entry_type: str, **entry: JsonValue) -> None:
        """Write one line and sync it to disk; raise LedgerBroken, with nothing half written, if that fails."""
        clash = _RESERVED & entry.keys()
        if clash:
            raise ValueError(f"an entry may not set {', '.join(sorted(clash))}")
        with self._thread_lock:
            if self.sealed:
                raise LedgerBroken(f"{entry_type} came after the end of the run: the ledger {self.path} is closed.")
            self.sealed = entry_type == "run.finished"
            try:
                self._locked(entry_type, entry)
            except OSError as error:
                raise LedgerBroken(
                    f"{entry_type} could not be written to the ledger {self.path}: {error.strerror}. "
                    "Without a record nothing is broken; make room or choose another CHAOSGPU_RUNS."
                ) from error

    def _locked(self, entry_type: str, entry: JsonObject) -> None:
        """Append under the file's lock, so that a second process cannot fork the chain."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = os.fstat(file).st_size
            seq, prev = self._repaired(file, size) if size else (0, FIRST)
            self._write(file, seq + 1, prev, entry_type, entry)
        finally:
            os.close(file)

    def _repaired(self, file: int, size: int) -> tuple[int, str]:
        """Return the last line's seq and digest; a torn line is first kept aside and noted."""
        *lines, tail = os.pread(file, size, 0).split(b"\n")
        seq, prev = len(lines), digest(lines[-1]) if lines else FIRST
        if not tail:
            return seq, prev
        aside = self.path.with_name(f"{self.path.name}.torn-{seq + 1}")
        keep_torn_end(file, aside, tail)
        note: JsonObject = {"kept_as": aside.name, "bytes": len(tail), "sha256": digest(tail)}
        line = self._write(file, seq + 1, prev, "ledger.repaired", note)
        return seq + 1, digest(line)

    def _write(self, file: int, seq: int, prev: str, entry_type: str, entry: JsonObject) -> bytes:
        """Write one line at the end."""
        whole: JsonObject = {
            "seq": seq,
            "prev": prev,
            "at": stamp(self._now()),
            "run": self._run,
            "type": entry_type,
            **redact(entry),
        }
        line = json.dumps(whole, ensure_ascii=False, allow_nan=False).encode()
        append_line(file, line)
        return line

    def entries(self) -> list[JsonObject]:
        """Read what is in the ledger so far."""
        return _entries(self.path)
