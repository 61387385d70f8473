# SPDX-License-Identifier: Apache-2.0
"""One whole history on a database: recorded to a file, read back and audited."""

from pathlib import Path

from chaosgpu.vectordb.audit import Audited, audit
from chaosgpu.vectordb.backends.address import Address, address
from chaosgpu.vectordb.backends.connect import connect, connected
from chaosgpu.vectordb.history import Header, Recorder, read_history
from chaosgpu.vectordb.recording import Plan, Session
from support.vectors import Known

COLLECTION = "chaosgpu_history"


def audited(known: Known, plan: Plan, path: Path, collection: str = COLLECTION) -> Audited:
    """Make the collection, write, read back, remove it."""
    written(known, plan, path, collection)
    return read_back(known, path)


def written(known: Known, plan: Plan, path: Path, collection: str = COLLECTION) -> None:
    """Make the collection and write a history."""
    where = _where(known)
    with connected(where) as backend:
        backend.drop(collection)
        backend.create(collection, plan.dimension)
    with path.open("w", encoding="utf-8") as file:
        recorder = Recorder(file, Header(plan.seed, plan.dimension, collection, known.kind))
        Session(plan, collection, lambda: connect(where), recorder).run()


def read_back(known: Known, path: Path) -> Audited:
    """Audit a history and remove its collection."""
    history = read_history(path)
    with connected(_where(known)) as backend:
        try:
            return audit(backend, history)
        finally:
            backend.drop(history.header.collection)


def _where(known: Known) -> Address:
    return address(known.kind, known.url, 60, known.secrets)
