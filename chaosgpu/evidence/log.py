# SPDX-License-Identifier: Apache-2.0
"""The site's append-only evidence log: every drill that was planned, started, ended or skipped, chained and synced."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence.entry import COMMON, REPAIRED, checked, encode, in_order, read_canonical
from chaosgpu.evidence.log_rules import Attempt, follow
from chaosgpu.fleet.redaction import redact
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.appending import append_line, keep_torn_end
from chaosgpu.lease.chain import FIRST, digest, parse
from chaosgpu.lease.ids import stamp

__all__ = ["EvidenceLog", "Written", "home", "read_raw"]

_FILE = "log.jsonl"
_PRIVATE = 0o700


def home() -> Path:
    """Return the site's folder of evidence: $CHAOSGPU_EVIDENCE, else .chaosgpu/evidence under the current folder."""
    return Path(os.environ.get("CHAOSGPU_EVIDENCE") or ".chaosgpu/evidence").absolute()


def read_raw(directory: Path) -> tuple[list[bytes], bytes]:
    """Read a site's log: its whole lines without newlines, and the torn tail behind them. No log yet: no lines."""
    path = directory / _FILE
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], b""
    except OSError as error:
        raise EvidenceBroken(f"The evidence log {path} could not be read: {error.strerror}.") from error
    return lines, tail


@dataclass(frozen=True)
class Written:
    """A line that is on disk: its place and its digest, which together are what a witness keeps."""

    seq: int
    digest: str


@dataclass(frozen=True)
class _Last:
    """What the next line needs of the line before it."""

    seq: int
    digest: str
    at: str


_NONE = _Last(0, FIRST, "")


class EvidenceLog:
    """The log of one site; any process may append, one at a time."""

    def __init__(self, directory: Path, now: Callable[[], datetime]) -> None:
        self.directory = directory
        self.path = directory / _FILE
        self._now = now

    def append(self, entry_type: str, drill: str = "", attempt: str = "", **fields: JsonValue) -> Written:
        """Write one line and sync it, and its folder when it is the first, to disk before this returns.

        Raises BadArgument for an entry that may not be, such as a second end of one attempt, and EvidenceBroken where
        the disk did not take it; in both cases nothing of it is in the log.
        """
        ordered = checked(entry_type, drill, attempt, redact(fields))
        try:
            with self._locked() as file:
                last = self._repaired(file)
                self._may_follow(file, {"type": entry_type, "drill": drill, "attempt": attempt, "at": "", **ordered})
                return self._write(file, last, (entry_type, drill, attempt), ordered)
        except OSError as error:
            raise EvidenceBroken(
                f"{entry_type} of drill {drill or '-'} could not be written to the evidence log {self.path}: "
                f"{error.strerror}. Without it no drill starts; make room or set CHAOSGPU_EVIDENCE."
            ) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Open the log under its lock, so that a second process cannot fork the chain."""
        self.directory.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if new:
                _sync_folder(self.directory)
            yield file
        finally:
            os.close(file)

    def _repaired(self, file: int) -> _Last:
        """Return the last line; a torn one is first kept aside and noted."""
        content = _all_of(file)
        whole, _, tail = content.rpartition(b"\n")
        last = self._last(whole) if whole else _NONE
        if not tail:
            return last
        aside = self.path.with_name(f"{_FILE}.torn-{last.seq + 1}")
        keep_torn_end(file, aside, tail)
        note = checked(REPAIRED, "", "", {"kept_as": aside.name, "bytes": len(tail), "sha256": digest(tail)})
        self._write(file, last, (REPAIRED, "", ""), note)
        return self._last(_all_of(file)[:-1])

    def _last(self, whole: bytes) -> _Last:
        """Return what the next line needs of the last whole one."""
        line = whole.rpartition(b"\n")[2]
        entry = parse(line)
        seq, at = (entry.get("seq"), entry.get("at")) if entry is not None else (None, None)
        if not isinstance(seq, int) or not isinstance(at, str):
            raise EvidenceBroken(
                f"The last line of the evidence log {self.path} is no entry, so nothing can be chained to it: "
                "`chaosgpu evidence log` says what is wrong; keep the file, and begin another one."
            )
        return _Last(seq, digest(line), at)

    def _may_follow(self, file: int, entry: JsonObject) -> None:
        """Refuse what would break the log for good: a second start, a second end, an end without a start."""
        marks = [f'"{name}": "{entry[name]}"'.encode() for name in ("drill", "attempt") if entry[name]]
        attempts: dict[str, Attempt] = {}
        planned: set[tuple[str, str]] = set()
        for line in _all_of(file).split(b"\n"):
            earlier = read_canonical(line) if any(mark in line for mark in marks) else ""
            if not isinstance(earlier, str):
                follow(earlier, attempts, planned)
        wrong = follow(entry, attempts, planned)
        if wrong:
            raise BadArgument(f"Nothing was written to the evidence log, since the entry {wrong[0]}.")

    def _write(self, file: int, last: _Last, kind: tuple[str, str, str], fields: JsonObject) -> Written:
        """Write one line at the end."""
        now = stamp(self._now())
        if now < last.at:  # the clock was set back: the order stays, and what the clock says is told
            fields = in_order(kind[0], {**fields, "clock": now})
        values = (last.seq + 1, last.digest, max(now, last.at), *kind)
        line = encode({**dict(zip(COMMON, values, strict=True)), **fields})
        append_line(file, line)
        return Written(last.seq + 1, digest(line))


def _all_of(file: int) -> bytes:
    """Read the whole file."""
    return os.pread(file, os.fstat(file).st_size, 0)


def _sync_folder(directory: Path) -> None:
    """Sync a folder, so that a new file in it is there after a power loss."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
