# SPDX-License-Identifier: Apache-2.0
"""What each real database does under each fault: played here, told as it was seen, for the table in docs/vectordb.md.

`python benchmarks/vectordb_faults.py --only chroma kill` plays one. What was seen is in `figures/vectordb/faults.json`.
Disk full needs root, for a small file system of its own below the database.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.errors import ChaosGpuError  # noqa: E402 (beside this file, wherever the tree lies)
from chaosgpu.lab.databases import Database, prepared  # noqa: E402
from chaosgpu.lab.packages import packages  # noqa: E402
from chaosgpu.vectordb import canary  # noqa: E402
from chaosgpu.vectordb.acts import BAD, FIRST_BAD  # noqa: E402
from chaosgpu.vectordb.audit import audit  # noqa: E402
from chaosgpu.vectordb.backends.address import address  # noqa: E402
from chaosgpu.vectordb.backends.connect import connect, connected  # noqa: E402
from chaosgpu.vectordb.backends.contract import Backend, Row  # noqa: E402
from chaosgpu.vectordb.history import Header, Recorder, read_history  # noqa: E402
from chaosgpu.vectordb.known_set import KnownSet, vector_of  # noqa: E402
from chaosgpu.vectordb.recording import Plan, Session  # noqa: E402
from support.vectors import known_of  # noqa: E402

KNOWN = KnownSet(seed=4, rows=1500, dimension=16)
CANARY, HISTORY = "chaosgpu_canary", "chaosgpu_history"
_RESULTS = Path("figures") / "vectordb" / "faults.json"
# A new PostgreSQL takes 40 MB, and its log of writes comes in pieces of 16.
_SMALL = {"chroma": 24, "milvus": 24, "pgvector": 128}
_WITHIN_S = 5.0


@dataclass
class Played:
    """One fault on one database, as it goes."""

    database: Database
    folder: Path
    seen: dict[str, Any]

    def backend(self, within_s: float = _WITHIN_S) -> Any:
        """Use it over a connection of its own."""
        known = known_of(self.database)
        return connected(address(known.kind, known.url, within_s, known.secrets))

    def look(self, moment: str) -> None:
        """Note what health check, count and canary say."""
        found: dict[str, Any] = {}
        with self.backend() as backend:
            for name, ask in (
                ("health", backend.healthy),
                ("count", lambda: backend.count(CANARY)),
                ("recall", lambda: round(canary.search_known(backend, CANARY, KNOWN).recall, 3)),
                ("short", lambda: canary.search_known(backend, CANARY, KNOWN).short),
                ("selves", lambda: len(canary.search_selves(backend, CANARY, canary.selves_of(KNOWN)).missing)),
                ("stored", lambda: canary.check_stored(backend, CANARY, KNOWN).sentence()),
            ):
                found[name] = _said(ask)
        self.seen[moment] = found

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write with a history while the block lasts."""
        known = known_of(self.database)
        where = address(known.kind, known.url, 2.0, known.secrets)
        with connected(where) as backend:
            backend.drop(HISTORY)
            backend.create(HISTORY, 16)
        # Milvus Lite's own source says that two writers to one collection are one too many.
        writers = 1 if known.kind == "milvus" else 2
        plan = Plan(seed=4, dimension=16, duration_s=300, writers=writers, readers=1, batch=20, rate_per_s=40)
        with (self.folder / "history.jsonl").open("w") as file, ThreadPoolExecutor(1) as pool:
            recorder = Recorder(file, Header(4, 16, HISTORY, known.kind))
            session = Session(plan, HISTORY, lambda: connect(where), recorder)
            working = pool.submit(session.run)
            time.sleep(2)
            try:
                yield
            finally:
                session.over.set()
                tally = working.result()
        self.seen["writes"] = {"acknowledged": tally.acknowledged, "failed": tally.failed, "unknown": tally.unknown,
                               "errors": tally.errors}  # fmt: skip

    def audit(self) -> None:
        """Read the history back."""

        def ask() -> Any:
            with self.backend(20.0) as backend:
                found = audit(backend, read_history(self.folder / "history.jsonl"))
            return {**found.checked.to_json(), "not_first": len(found.not_found)}

        self.seen["audit"] = _said(ask)

    def load_again(self) -> None:
        """Open the collections, as a client has to do after a restart of Milvus."""
        with self.backend() as backend:
            for name in (CANARY, HISTORY):
                with suppress(ChaosGpuError):
                    backend.open(name)


def _said(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except ChaosGpuError as error:
        return f"{type(error).__name__}: {str(error)[:240]}"


def nothing(one: Played) -> None:
    """Write and read as under every fault, and let nothing happen: the control."""
    with one.writing():
        time.sleep(6)
    one.look("after")
    one.audit()


def kill(one: Played) -> None:
    """SIGKILL to its first process while it is written to, then a start."""
    with one.writing():
        one.database.kill()
        time.sleep(1)
        one.seen["restart_s"] = round(one.database.start(), 2)
        if one.database.engine.name == "milvus":
            one.look("after the restart, not loaded")
        one.load_again()
        time.sleep(2)
    one.look("after")
    one.audit()


def stop(one: Played) -> None:
    """Stop it in order while it is written to, then start it."""
    with one.writing():
        began = time.monotonic()
        one.database.stop()
        one.seen["stop_s"] = round(time.monotonic() - began, 2)
        one.seen["restart_s"] = round(one.database.start(), 2)
        one.load_again()
        time.sleep(2)
    one.look("after")
    one.audit()


def freeze(one: Played) -> None:
    """SIGSTOP to all of it for eight seconds while it is written to."""
    with one.writing():
        one.database.freeze()
        one.seen["during"] = {"health": _said(lambda: _asked(one, lambda backend: backend.healthy()))}
        time.sleep(6)
        one.database.thaw()
        began = time.monotonic()
        one.seen["first answer"] = _said(lambda: _asked(one, lambda backend: backend.count(CANARY), 30.0))
        one.seen["answers_after_s"] = round(time.monotonic() - began, 2)
        time.sleep(2)
    one.look("after")
    one.audit()


def _asked(one: Played, ask: Callable[[Backend], Any], within_s: float = 2.0) -> Any:
    with one.backend(within_s) as backend:
        return ask(backend)


def disk_full(one: Played) -> None:
    """Fill the file system below its data to the last block while it is written to, and empty it again."""
    filler = one.database.place.data / "filler-of-chaosgpu"
    with one.writing():
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        time.sleep(6)
        one.look("full")
        one.seen["a write while full"] = _said(
            lambda: _asked(one, lambda backend: backend.put(HISTORY, _many(5_000_000)), 5.0)
        )
        filler.unlink()
        time.sleep(3)
        one.seen["a write after it"] = _said(
            lambda: _asked(one, lambda backend: backend.put(HISTORY, _many(6_000_000)), 5.0)
        )
    one.look("after there is room again")
    one.audit()
    one.seen["audit before a kill"] = one.seen.pop("audit")
    one.database.kill()
    one.seen["restart_s"] = _said(lambda: round(one.database.start(), 2))
    one.load_again()
    one.look("after a kill")
    one.audit()


def _many(first: int) -> list[Row]:
    return [Row(first + at, vector_of(4, first + at, 1, 16)) for at in range(2000)]


def bad_vectors(one: Played) -> None:
    """Vectors that are none, offered one by one; then the canary; then they are deleted."""
    with one.backend() as backend:
        for at, (kind, make) in enumerate(BAD.items()):
            one.seen[kind] = _said(partial(backend.put, CANARY, [Row(FIRST_BAD + at, make(16))])) or "taken"
        one.seen["a question of NaN"] = _said(
            lambda: [(hit.id, hit.distance) for hit in backend.search(CANARY, (float("nan"),) * 16, 3)]
        )
        one.seen["a question of 3e38"] = _said(
            lambda: [(hit.id, hit.distance) for hit in backend.search(CANARY, (3e38,) * 16, 3)]
        )
    one.look("with them")
    with one.backend() as backend:
        one.seen["deleted"] = _said(lambda: backend.delete(CANARY, [FIRST_BAD + at for at in range(len(BAD))])) or "yes"
    one.look("after")


def flood(one: Played) -> None:
    """Sixteen clients ask as fast as they are answered for eight seconds."""
    with one.backend() as backend:
        one.seen["alone"] = canary.search_known(backend, CANARY, KNOWN).to_json()
    end_s = time.monotonic() + 8

    def ask() -> int:
        done = 0
        with one.backend(10.0) as backend:
            while time.monotonic() < end_s:
                backend.search(CANARY, KNOWN.questions[done % 50], 10)
                done += 1
        return done

    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask) for _ in range(16)]
        time.sleep(2)
        one.seen["during"] = _said(lambda: _asked(one, lambda b: canary.search_known(b, CANARY, KNOWN).to_json(), 10.0))
        one.seen["answered"] = sum(one.result() for one in asking)
    one.look("after")


def index_gone(one: Played) -> None:
    """Its index files are removed, or one page of them is overwritten, while it is down."""
    one.look("before")
    kind = one.database.engine.name
    relation = ""
    if kind == "pgvector":
        with one.backend() as backend:
            of = "from pg_stat_user_indexes where indexrelname like '%embedding%'"
            sql = f"select pg_relation_filepath(indexrelid) {of}"
            relation = str(backend._run(sql, "")[0][0])  # noqa: SLF001 (what a test may ask that no experiment can)
    one.database.stop()
    data = one.database.place.data
    if kind == "chroma":
        gone = [path for path in data.iterdir() if path.is_dir()]
        for path in gone:
            shutil.rmtree(path)
    elif kind == "pgvector":
        gone = [data / relation]
        with gone[0].open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(8192)
            file.write(os.urandom(min(8192 * 8, max(0, size - 8192))))
    else:
        gone = [path for path in data.rglob("*") if path.is_file() and "index" in str(path.relative_to(data)).lower()]
        for path in gone:
            path.unlink()
    one.seen["what"] = [str(path.relative_to(data)) for path in gone][:5]
    one.seen["restart_s"] = _said(lambda: round(one.database.start(), 2))
    one.load_again()
    one.look("after")
    one.seen["runs"] = one.database.process is not None and one.database.process.poll() is None


FAULTS = {"nothing": nothing, "kill": kill, "stop": stop, "freeze": freeze, "disk full": disk_full,
          "bad vectors": bad_vectors, "query flood": flood, "index damaged or gone": index_gone}  # fmt: skip


@contextmanager
def _small_disk(folder: Path, mib: int) -> Iterator[None]:
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", folder], check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=30)


def play(kind: str, fault: str) -> dict[str, Any]:
    """Play one fault on a database of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if fault == "disk full":
            stack.enter_context(_small_disk(folder / kind, _SMALL[kind]))
        database = prepared(kind, folder / kind, lambda _line: None)
        database.start()
        stack.callback(database.stop)
        one = Played(database, folder, {})
        with one.backend(30.0) as backend:
            canary.seed(backend, CANARY, KNOWN)
            one.seen["version"] = backend.version()
        try:
            FAULTS[fault](one)
        except Exception as error:  # noqa: BLE001 (told in the table; the next one is played all the same)
            one.seen["broke off"] = f"{type(error).__name__}: {error}"
        said = database.last_words().replace(str(database.place.packages), "…").replace(str(folder), "…")
        one.seen["log"] = said[-600:]
        return one.seen


def main() -> int:
    """Play what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="kinds and faults; all where none is named")
    only = parser.parse_args().only
    sys.path.append(str(packages("milvus", lambda _line: None)))  # its client
    seen = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {}
    for kind in ("chroma", "pgvector", "milvus"):
        for fault in FAULTS:
            if (not set(only) & {"chroma", "pgvector", "milvus"} or kind in only) and (
                not set(only) & set(FAULTS) or fault in only
            ):
                began = time.monotonic()
                seen.setdefault(kind, {})[fault] = {"at": datetime.now(UTC).strftime("%Y-%m-%d"), **play(kind, fault)}
                _RESULTS.parent.mkdir(parents=True, exist_ok=True)
                _RESULTS.write_text(json.dumps(seen, indent=1) + "\n")
                sys.stdout.write(f"{kind} {fault}: {time.monotonic() - began:.0f} s\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
