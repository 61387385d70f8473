# SPDX-License-Identifier: Apache-2.0
"""What was played of the catalogue: kept in `figures/catalogue/played.json`, one line a play, with its date.

A play counts as long as the experiment's file is the same.
"""

import fcntl
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.catalogue.entries import Entry, Form  # noqa: E402 (the lines above find it)
from chaosgpu.catalogue.finding import Seen  # noqa: E402 (as above)
from figures import Figure, at_least, exactly  # noqa: E402 (as above)

__all__ = ["ROOT", "Kept", "Play", "Result", "figures_of", "plays_of"]

LEAST = 16


@dataclass(frozen=True)
class Play:
    """One form of one experiment, on one database where it needs one."""

    entry: Entry
    form: Form
    database: str | None

    @property
    def key(self) -> str:
        """Its name among the kept results."""
        return self.form.path.stem + (f"@{self.database}" if self.database else "")

    @property
    def file(self) -> Path:
        """The file that is played: the JSON, since it is read a hundred times as fast."""
        return self.form.path.with_suffix(".json")

    @property
    def digest(self) -> str:
        """The digest of that file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Result:
    """How a play ended."""

    at: str
    verdict: str
    expected: str
    reason: str
    took_s: float
    sha256: str
    tries: int = 1
    # How the tries before it ended.
    before: tuple[str, ...] = ()
    # What the steps of the declared finding gave.
    seen: tuple[Seen, ...] = ()

    def holds(self, play: Play) -> bool:
        """Whether it is of this file, ended as the file declares, and for the reason that the file declares."""
        return self.sha256 == play.digest and self.as_declared(play)

    def as_declared(self, play: Play) -> bool:
        """Whether verdict and finding are the declared ones; without a finding it is not known."""
        ended = self.verdict == play.form.declared.expected_verdict
        return ended and bool(self.seen) and all(one.as_declared for one in self.seen)

    @property
    def told(self) -> str:
        """How it ended in words, with what was found that is not declared."""
        otherwise = [
            f"; {one.step!r}{f' ({one.at})' if one.at else ''} gave {one.value!r}, declared {one.declared}"
            for one in self.seen
            if not one.as_declared
        ]
        return f"{self.verdict}: {self.reason}{''.join(otherwise)}"


def plays_of(entries: Sequence[Entry]) -> list[Play]:
    """List every play that the catalogue promises."""
    return [
        Play(entry, form, database)
        for entry in entries
        for form in entry.forms
        for database in (form.declared.needs.databases or (None,))
    ]


class Kept:
    """The kept results; each is on disk before the next play begins, so a run that is ended goes on where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.results = self._read()

    def _read(self) -> dict[str, Result]:
        found = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        return {key: _result(one) for key, one in found.items()}

    def lacks(self, play: Play) -> bool:
        """Whether it has to be played still."""
        result = self.results.get(play.key)
        return result is None or not result.holds(play)

    def keep(self, play: Play, result: Result) -> None:
        """Write one result; another process may have kept others meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.parent.joinpath("played.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.results = {**self._read(), play.key: result}
            self._write()

    def _write(self) -> None:
        rows = {key: asdict(one) for key, one in sorted(self.results.items())}
        partial = self._path.with_suffix(".new")
        partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)


def _result(row: dict[str, Any]) -> Result:
    """Read one kept result; those of before findings were compared have none, and do not hold."""
    return Result(
        **{**row, "before": tuple(row.get("before", ())), "seen": tuple(Seen(**one) for one in row.get("seen", ()))}
    )


def figures_of(plays: Sequence[Play], kept: Kept) -> list[Figure]:
    """Count what is declared and what was played as declared."""
    done = {play.key for play in plays if not kept.lacks(play)}
    of_this_file = [one for one in plays if one.key in kept.results and kept.results[one.key].sha256 == one.digest]
    names = sorted({play.entry.name for play in plays})
    whole = [name for name in names if all(play.key in done for play in plays if play.entry.name == name)]
    open_ = sorted(play.key for play in plays if play.key not in done)
    return [
        at_least("experiments in the catalogue, each in two forms", len(names), "", LEAST),
        exactly(
            "plays with the verdict and finding that they declare (each form, on each database)",
            len(done),
            "",
            len(plays),
        ),
        at_least("experiments whose every play ended as declared", len(whole), "", LEAST),
        exactly("plays of these files that ended otherwise", len(of_this_file) - len(done), "", 0),
        Figure("open", ", ".join(open_) or "none", "", "shown", None),
    ]
