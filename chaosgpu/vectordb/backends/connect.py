# SPDX-License-Identifier: Apache-2.0
"""Finds the backend that an experiment names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.chroma import Chroma
from chaosgpu.vectordb.backends.contract import Backend
from chaosgpu.vectordb.backends.milvus import Milvus
from chaosgpu.vectordb.backends.pgvector import Pgvector
from chaosgpu.vectordb.backends.qdrant import Qdrant

__all__ = ["connect", "connected"]

_MAKERS: dict[str, Callable[[Address], Backend]] = {
    "chroma": Chroma,
    "milvus": Milvus,
    "pgvector": Pgvector,
    "qdrant": Qdrant,
}


def connect(where: Address) -> Backend:
    """Return the backend of an address; the connection is made with its first call. One a thread."""
    return _MAKERS[where.kind](where)


@contextmanager
def connected(where: Address) -> Iterator[Backend]:
    """Use a backend for as long as the block lasts."""
    backend = connect(where)
    try:
        yield backend
    finally:
        backend.close()
