# SPDX-License-Identifier: Apache-2.0
"""Planted lies and clean histories on real databases: `make figures-vectordb` writes figures/vectordb.json.

`--lies N` runs each lie N times before a real Chroma; `--histories N` runs N honest histories, in turn on Chroma, on
pgvector, on a Chroma whose connections are cut, and on one that is killed and started again in the middle. What was
told is kept in `figures/vectordb/runs.jsonl` and not run again as long as the code that it ran through is the same.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import vectordb_files
from figures import Figure, at_least, exactly, publish

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.errors import AnswerWrong, Unreachable  # noqa: E402 (beside this file, wherever the tree lies)
from chaosgpu.lab.databases import Database, prepared  # noqa: E402
from chaosgpu.vectordb import probes  # noqa: E402
from chaosgpu.vectordb.recording import Plan  # noqa: E402
from support.audited import audited, read_back, written  # noqa: E402
from support.lying_database import LIES, Liar, lying_in_front  # noqa: E402
from support.vectors import Known, known_of  # noqa: E402

_RESULTS = Path("figures") / "vectordb" / "runs.jsonl"
_EXPECTED = {
    "drop": {"lost", "stale"},
    "undelete": {"resurrected"},
    "forget_updates": {"stale", "lost"},
    "duplicate": {"duplicated"},
    "swap": {"corrupted"},
    "corrupt": {"corrupted"},
    "stale": {"stale"},
    "refuse": {"refused"},
}
_THROUGH = ("audit", "baseline", "canary", "checker", "history", "judging", "known_set", "recording", "work")
_NOT_THROUGH = ("milvus", "qdrant")
# Played on test hosts by vectordb_files.py.
_PLAYS = [f"{kind} {fault}" for kind, fault in vectordb_files.PLAYS]
WAYS = ("chroma", "pgvector", "chroma, connections cut", "chroma, killed in the middle")


def sources() -> str:
    """Return a digest of what these runs go through."""
    total = hashlib.sha256()
    room = ROOT / "chaosgpu" / "vectordb"
    names = [
        *(path for path in (room / "backends").glob("*.py") if path.stem not in _NOT_THROUGH),
        *(room / f"{name}.py" for name in _THROUGH),
        ROOT / "tests" / "support" / "lying_database.py",
    ]
    for path in sorted(names):
        total.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return total.hexdigest()[:16]


@dataclass
class Told:
    """What is known, and where more is written."""

    digest: str
    lines: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, digest: str) -> "Told":
        """Read what these sources told."""
        found = _RESULTS.read_text(encoding="utf-8").splitlines() if _RESULTS.exists() else []
        lines = [json.loads(line) for line in found]
        return cls(digest, {line["key"]: line for line in lines if line["sources"] == digest})

    def run(self, key: str, play: Callable[[], dict[str, Any]]) -> None:
        """Play what has not been played yet and write it down."""
        if key in self.lines:
            return
        try:
            line = {"key": key, "sources": self.digest, **play()}
        except (Unreachable, AnswerWrong) as error:
            # Not a verdict: a machine that is too busy to answer says nothing. It is missing, and is played next time.
            sys.stdout.write(f"{key}: not played: {error}\n")
            return
        _RESULTS.parent.mkdir(parents=True, exist_ok=True)
        with _RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines[key] = line
        sys.stdout.write(f"{key}: {'as it must be' if line['right'] else 'WRONG ' + json.dumps(line)}\n")
        sys.stdout.flush()


def lie(real: Database, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Let a proxy lie before a real Chroma, and say whether it was found out under the right name."""
    # A few of its writes are deletes, or writes to a row that is there: of these it lies about more.
    liar = Liar(name, seed, share=0.6 if name in ("undelete", "forget_updates") else 0.2)
    if name == "worse":
        path = str(folder / "vectors.json")
        probes.learn_canary(real.url, "chroma", path, rows=500, dimension=8)
        with lying_in_front(real.url, liar) as url:
            found = probes.canary(url, "chroma", path)
        return {"right": not found["right"] and liar.told > 0, "told": liar.told, "why": found["why"][:2]}
    plan = Plan(seed=seed, dimension=4, duration_s=60, writers=2, readers=1, batch=3, rate_per_s=200, most_writes=30)
    with lying_in_front(real.url, liar) as url:
        checked = audited(Known("chroma", url, None), plan, folder / "history.jsonl").checked
    kinds = sorted({one.kind for one in checked.findings})
    return {"right": bool(set(kinds) & _EXPECTED[name]) and liar.told > 0, "told": liar.told, "kinds": kinds}


def honest(way: str, of: Callable[[str], Database], seed: int, folder: Path) -> dict[str, Any]:
    """Play one honest history; whatever is found in it is a false alarm."""
    plan = Plan(seed=seed, dimension=4, duration_s=60, writers=2, readers=1, batch=3, rate_per_s=100, most_writes=15)
    database, path = of("pgvector" if "pgvector" in way else "chroma"), folder / "history.jsonl"
    known = known_of(database)
    if "cut" in way:
        with lying_in_front(database.url, Liar(None, seed, cut=0.1)) as url:
            found = audited(Known("chroma", url, None), plan, path)
    else:
        # The database is started by this thread and no other: it dies with the thread that started it.
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(written, known, plan, path)
            if "killed" in way:
                time.sleep(0.1)
                database.kill()
                database.start()
            writing.result()
        found = read_back(known, path)
    return {"right": found.checked.clean, "not_first": len(found.not_found), **found.checked.to_json()}


def figures(told: Told, lies: int, histories: int) -> list[Figure]:
    """Sum up what is known."""
    lied = {name: [line for key, line in told.lines.items() if key.startswith(f"lie {name} ")] for name in LIES}
    clean = {way: [line for key, line in told.lines.items() if key.startswith(f"honest {way} ")] for way in WAYS}
    lines = [line for found in clean.values() for line in found]

    def shown(what: str, key: str, unit: str) -> Figure:
        return Figure(f"clean histories: {what}", sum(line[key] for line in lines), unit, "shown", None)

    def found_out(name: str) -> Figure:
        said = f"{sum(line['right'] for line in lied[name])}/{len(lied[name])}"
        return exactly(f"lie {name}: found out", said, "", f"{lies}/{lies}")

    return [
        *map(found_out, LIES),
        at_least("clean histories", len(lines), "histories", histories),
        *(Figure(f"clean histories: {way}", len(found), "histories", "shown", None) for way, found in clean.items()),
        exactly("clean histories: false alarms", sum(not line["right"] for line in lines), "histories", 0),
        shown("writes acknowledged", "acknowledged", "writes"),
        shown("writes failed", "failed", "writes"),
        shown("writes of unknown fate", "unknown", "writes"),
        shown("reads judged", "reads", "reads"),
        shown("rows that did not come first for themselves", "not_first", "rows"),
        exactly("a vanished or damaged index: whole again after the undo", _whole_again(), "", _whole(len(_PLAYS))),
    ]


def _whole_again() -> str:
    """Return how many plays on test hosts ended with rows, recall, audit and files as before."""
    found = vectordb_files.kept()
    return _whole(sum(found.get(name, {}).get("as before") is True for name in _PLAYS))


def _whole(count: int) -> str:
    return f"{count}/{len(_PLAYS)}"


def play(told: Told, lies: int, histories: int, until_s: float) -> None:
    """Play what is not known yet until the time is over."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made: dict[str, Database] = {}

        def of(kind: str) -> Database:
            if kind not in made:
                made[kind] = prepared(kind, folder / kind, lambda _line: None)
                made[kind].start()
            return made[kind]

        try:
            for at in range(max(lies, histories)):
                if time.monotonic() > until_s:
                    return
                if at < lies:
                    for one in LIES:
                        told.run(f"lie {one} {at}", partial(lie, of("chroma"), one, at, folder))
                if at < histories:
                    way = WAYS[at % len(WAYS)]
                    told.run(f"honest {way} {at}", partial(honest, way, of, at, folder))
        finally:
            for database in made.values():
                database.stop()


def main() -> int:
    """Play, write the figures, and end with 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lies", type=int, default=5)
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin nothing new after this long")
    arguments = parser.parse_args()
    told = Told.of(sources())
    play(told, arguments.lies, arguments.histories, time.monotonic() + 60 * arguments.minutes)
    return publish("vectordb", figures(told, arguments.lies, arguments.histories))


if __name__ == "__main__":
    sys.exit(main())
