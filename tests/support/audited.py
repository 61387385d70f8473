# SPDX-License-Identifier: Apache-2.0
"""One whole history on a database: recorded to a file, read back and audited."""

from pathlib import Path

from chaosgpu.vectordb.audit import Audited, audit
from chaosgpu.vectordb.backends.address import address
from chaosgpu.vectordb.backends.connect import connect, connected
from chaosgpu.vectordb.history import Header, Recorder, read_history
from chaosgpu.vectordb.recording import Plan, Session
from support.vectors import Known

COLLECTION = "chaosgpu_history"


def audited(known: Known, plan: Plan, path: Path, collection: str = COLLECTION) -> Audited:
    """Make the collection, write, read back, remove it."""
    where = address(known.kind, known.url, 10, known.secrets)
    with connected(where) as backend:
        backend.drop(collection)
        backend.create(collection, plan.dimension)
    with path.open("w", encoding="utf-8") as file:
        recorder = Recorder(file, Header(plan.seed, plan.dimension, collection, known.kind))
        Session(plan, collection, lambda: connect(where), recorder).run()
    with connected(where) as backend:
        try:
            return audit(backend, read_history(path))
        finally:
            backend.drop(collection)
