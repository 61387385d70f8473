# SPDX-License-Identifier: Apache-2.0
"""What each real database does with a vanished and with a damaged index, as the lease makes them: for docs/vectordb.md.

`python benchmarks/vectordb_files.py --only chroma vanish` plays one on a test host (docs/bench.md). Without `--only`,
all are played of which no result of the present sources is in `figures/vectordb/files.json`. It ends with 1 where one
did not come back whole.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.cuda_units import sh  # noqa: E402 (in the tests' folder, wherever the tree lies)
from bench.hosts import Bench, Host  # noqa: E402
from bench.plan import BENCHES, BenchFailed  # noqa: E402
from bench.units import order, undo  # noqa: E402
from bench.vector_units import KINDS, VectorUnit, serve, shown  # noqa: E402
from chaosgpu.errors import ChaosGpuError  # noqa: E402
from chaosgpu.lab.packages import packages  # noqa: E402
from chaosgpu.vectordb import canary  # noqa: E402
from chaosgpu.vectordb.audit import audit  # noqa: E402
from chaosgpu.vectordb.backends.address import address  # noqa: E402
from chaosgpu.vectordb.backends.connect import connect, connected  # noqa: E402
from chaosgpu.vectordb.history import Header, Recorder, read_history  # noqa: E402
from chaosgpu.vectordb.known_set import KnownSet  # noqa: E402
from chaosgpu.vectordb.recording import Plan, Session  # noqa: E402

__all__ = ["PLAYS", "kept"]

KNOWN = KnownSet(seed=4, rows=1500, dimension=16)
CANARY, HISTORY = "chaosgpu_canary", "chaosgpu_history"
_RESULTS = Path("figures") / "vectordb" / "files.json"
_LASTS_S = 180.0
_MOST = 16  # files of one lease
# All files of the index, or of each index the largest, where the vectors are.
FAULTS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "vanish": ("unit.files.vanish", {}, False),
    "vanish with its folders": ("unit.files.vanish", {"folders": True}, False),
    "damage": ("unit.files.damage", {"bytes": 2000, "seed": 1}, False),
    "damage the largest": ("unit.files.damage", {"bytes": 2000, "seed": 1}, True),
}


# All of a PostgreSQL's database is in one folder.
PLAYS = [
    (kind, fault) for kind in KINDS for fault in FAULTS if (kind, fault) != ("pgvector", "vanish with its folders")
]


def sources() -> str:
    """Return a digest of what makes these faults."""
    total, faults = hashlib.sha256(), ROOT / "chaosgpu" / "agent" / "faults"
    named = ("aside", "damaged_copy", "file_holders", "known_file", "set_aside", "unit_own_files", "unit_pause")
    for path in sorted((*faults.glob("unit_files*.py"), *(faults / f"{name}.py" for name in named))):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def kept() -> dict[str, Any]:
    """Return what was seen by the present sources, by database and fault."""
    found = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    return {f"{kind} {fault}": seen for kind, plays in found.items() for fault, seen in plays.items()
            if seen.get("sources") == sources()}  # fmt: skip


def said(ask: Callable[[], Any]) -> Any:
    """Return what was answered, or the sentence."""
    try:
        return ask()
    except ChaosGpuError as error:
        return f"{type(error).__name__}: {str(error)[:240]}"


class Played:
    """One fault on one database, as it goes; inside the bench's network."""

    def __init__(self, one: VectorUnit, folder: Path) -> None:
        self.one, self.history, self.seen = one, folder / "history.jsonl", dict[str, Any]()

    def backend(self, within_s: float = 10.0) -> Any:
        """Use it over a connection of its own."""
        known = self.one.known
        return connected(address(known.kind, known.url, within_s, known.secrets))

    def write(self) -> None:
        """Write with a history for some seconds: that is what the audit reads back."""
        known = self.one.known
        where = address(known.kind, known.url, 2.0, known.secrets)
        with self.backend() as backend:
            backend.drop(HISTORY)
            backend.create(HISTORY, 16)
        # Milvus Lite's own source says that two writers to one collection are one too many.
        writers = 1 if known.kind == "milvus" else 2
        plan = Plan(seed=4, dimension=16, duration_s=4, writers=writers, readers=1, batch=20, rate_per_s=40)
        with self.history.open("w") as file:
            recorder = Recorder(file, Header(4, 16, HISTORY, known.kind))
            tally = Session(plan, HISTORY, lambda: connect(where), recorder).run()
        self.seen["acknowledged"] = tally.acknowledged

    def look(self, moment: str) -> dict[str, Any]:
        """Note what unit, health check, count, canary and audit say."""
        if self.one.kind == "milvus":  # a client has to load a collection after a start
            for name in (CANARY, HISTORY):
                said(partial(self._open, name))
        found: dict[str, Any] = {"unit": sh(self.one.host, f"systemctl is-active {self.one.unit} || true").strip()}
        for name, ask in (
            ("health", lambda backend: backend.healthy()),
            ("count", lambda backend: backend.count(CANARY)),
            ("recall", lambda backend: round(canary.search_known(backend, CANARY, KNOWN).recall, 3)),
            ("selves", lambda backend: len(canary.search_selves(backend, CANARY, canary.selves_of(KNOWN)).missing)),
            ("stored", lambda backend: canary.check_stored(backend, CANARY, KNOWN).sentence()),
            ("audit", self._audit),
        ):
            found[name] = said(partial(self._ask, ask))
        found["unit then"] = sh(self.one.host, f"systemctl is-active {self.one.unit} || true").strip()
        self.seen[moment] = found
        return found

    def relation(self) -> str:
        """Return where PostgreSQL has the canary's index."""
        if self.one.kind != "pgvector":
            return ""
        sql = "select pg_relation_filepath(i.indexrelid) from pg_stat_user_indexes i join pg_class c on c.oid = "
        where = f"i.indexrelid where i.indexrelname like '%embedding%' and i.relname = '{CANARY}'"
        with self.backend() as backend:
            return str(backend._run(sql + where, "")[0][0])  # noqa: SLF001 (what no experiment can ask)

    def _open(self, name: str) -> None:
        with self.backend() as backend:
            backend.open(name)

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        with self.backend() as backend:
            return ask(backend)

    def _audit(self, backend: Any) -> Any:
        found = audit(backend, read_history(self.history))
        return {name: count for name, count in found.checked.to_json().items() if count}


def play(host: Host, kind: str, fault: str, folder: Path) -> dict[str, Any]:
    """Play one fault on a database of its own, and say whether all was as before in the end."""
    sh(host, f"systemctl stop {VectorUnit(host, kind).unit} 2>/dev/null; rm -rf {VectorUnit(host, kind).data}")
    one = serve(host, kind)
    played = Played(one, folder)
    seen = played.seen
    with played.backend(60.0) as backend:
        canary.seed(backend, CANARY, KNOWN)
        seen["version"] = backend.version()
    played.write()
    sh(host, f"systemctl restart {one.unit}")  # so that what is in memory only is none of the index
    one.wait()
    before = played.look("before")
    files = one.index_files(played.relation())
    seen["files"] = files
    digests = f"sha256sum {' '.join(files)}; stat -c %i {' '.join(files)}"
    if not files:
        raise BenchFailed(f"{kind} has written no index file, so there is nothing to take away: {one.words()}")
    was = sh(host, digests)
    name, params, largest = FAULTS[fault]
    sizes = {path: int(sh(host, f"stat -c %s {path}")) for path in files}
    given = [path for path in files if sizes[path] or name.endswith("vanish")][:_MOST]
    if largest:
        given = [path for path in given if sizes[path] == max(sizes[one] for one in files if _beside(one, path))]
    seen["given"] = given
    began = time.monotonic()
    asked = order(name, one.unit, _LASTS_S, files=given, back_within_s=30, **params)
    answer = host.agent("apply", asked, timeout_s=90)
    seen["applied"] = answer.get("observed", answer)
    seen["apply_s"] = round(time.monotonic() - began, 1)
    if answer.get("state") == "active":
        time.sleep(5)
        during = played.look("during")
        seen["caught by"] = [key for key in during if during[key] != before[key]]
        seen["words"] = re.sub(r"\x1b\[[0-9;]*m|/\S+/(?=\S)", "", one.words())[-900:]
    if "lease" not in answer:
        raise BenchFailed(f"{fault} was not taken on {kind}: {answer}")
    began = time.monotonic()
    line = undo(host, answer)
    seen["undone"] = {key: line.get(key) for key in ("state", "restored", "left_alone", "reason")}
    seen["undo_s"] = round(time.monotonic() - began, 1)
    one.wait()
    after = played.look("after")
    seen["files are the same"] = host.run(["sh", "-c", digests]).stdout == was
    seen["as before"] = after == before and line["state"] == "clean"
    sh(host, f"systemctl stop {one.unit}")
    return seen


def _beside(one: str, other: str) -> bool:
    return Path(one).parent == Path(other).parent


def main() -> int:
    """Play what was asked for and write it down; 1 where something did not come back as it was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="kinds and faults; all where none is named")
    only = set(parser.parse_args().only)
    wanted = [
        (kind, fault)
        for kind, fault in PLAYS
        if (not only & set(KINDS) or kind in only)
        and (not only & set(FAULTS) or fault in only)
        and (only or f"{kind} {fault}" not in kept())
    ]
    if not wanted:
        return 0
    sys.path.append(str(packages("milvus", lambda _line: None)))  # its client
    whole = True
    bench = Bench(BENCHES / f"vectordb-{os.getpid()}")
    bench.up(1, shown=shown())
    try:
        for kind, fault in wanted:
            with tempfile.TemporaryDirectory() as folder, bench.inside():
                seen = play(bench.hosts[0], kind, fault, Path(folder))
            found = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
            about = {"at": datetime.now(UTC).strftime("%Y-%m-%d"), "sources": sources()}
            found.setdefault(kind, {})[fault] = {**about, **seen}
            _RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            whole = whole and seen["as before"]
            sys.stdout.write(f"{kind} {fault}: as before {seen['as before']}\n")
            sys.stdout.flush()
    finally:
        bench.down()
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
