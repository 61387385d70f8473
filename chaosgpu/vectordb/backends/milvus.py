# SPDX-License-Identifier: Apache-2.0
"""Milvus, and Milvus Lite, over pymilvus: the one client that both understand (Lite has no REST)."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from chaosgpu.errors import AnswerWrong, BadArgument, NotReached, Refused, Unreachable
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.contract import Hit, NoCollection, NotTaken, Row, TooSlow, Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymilvus import MilvusClient

__all__ = ["Milvus"]

_ID, _VECTOR = "id", "vector"
# Milvus's own codes (pkg/util/merr), and gRPC's words for what has none.
_NO_COLLECTION = (4, 100)
_NOT_LOADED = (101,)
_NO_CONNECTION = 2
# Not 1, "unexpected": Lite answers so when its disk is full, and has done some of those writes all the same.
_BAD_REQUEST = (5, 6, 1100, 1101, 1700, 1804)
_NO_KEY = (1400, 1401, 1402, 1403, 1405, 1411, 1412, 1413)


class Milvus:
    """One Milvus server."""

    name = "milvus"

    def __init__(self, where: Address) -> None:
        """Remember where; nothing is sent yet."""
        self._where = where
        self._made: MilvusClient | None = None

    def healthy(self) -> bool:
        """Ask for the version, as its CheckHealth does in Lite: it says that the server answers."""
        return bool(self.version())

    def version(self) -> str:
        """Return the server's version."""
        return str(self._call("", lambda client, t: client.get_server_version(timeout=t)))

    def count(self, collection: str) -> int:
        """Return the row count of the collection's statistics."""
        said = self._call(collection, lambda client, t: client.get_collection_stats(collection, timeout=t))
        return int(said["row_count"])

    def create(self, collection: str, dimension: int) -> None:
        """Make and load it, with an HNSW index."""

        def make(client: "MilvusClient", t: float) -> None:
            from pymilvus import DataType  # noqa: PLC0415 (a second and 100 MB, and an extra)

            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(_ID, DataType.INT64, is_primary=True)
            schema.add_field(_VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
            index = client.prepare_index_params()
            index.add_index(_VECTOR, index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 100})
            client.create_collection(
                collection, schema=schema, index_params=index, consistency_level="Strong", timeout=t
            )

        if self._call(collection, lambda client, t: client.has_collection(collection, timeout=t)):
            raise NotTaken(f"Milvus at {self._where.url} has a collection {collection} already.")
        self._call(collection, make)
        self.open(collection)

    def drop(self, collection: str) -> None:
        """Remove it."""
        with suppress(NoCollection):
            self._call(collection, lambda client, t: client.drop_collection(collection, timeout=t))

    def open(self, collection: str) -> None:
        """Load it: Milvus answers of loaded collections alone, and Lite has none loaded after a restart."""
        self._call(collection, lambda client, t: client.load_collection(collection, timeout=t))

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Upsert."""
        data = [{_ID: row.id, _VECTOR: list(row.vector)} for row in rows]
        self._call(collection, lambda client, t: client.upsert(collection, data=data, timeout=t))

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete by id."""
        self._call(collection, lambda client, t: client.delete(collection, ids=list(ids), timeout=t))

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        """Query by id."""
        wanted = f"{_ID} in [{', '.join(str(int(one)) for one in ids)}]"
        found = self._call(
            collection,
            lambda client, t: client.query(
                collection, filter=wanted, output_fields=[_ID, _VECTOR], consistency_level="Strong", timeout=t
            ),
        )
        return [Row(int(one[_ID]), tuple(float(x) for x in one[_VECTOR])) for one in found]

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        """Search through the index."""
        found = self._call(
            collection,
            lambda client, t: client.search(
                collection, data=[list(vector)], anns_field=_VECTOR, limit=k, consistency_level="Strong", timeout=t
            ),
        )
        # Milvus gives squared distances.
        return [Hit(int(one[_ID]), float(one["distance"]) ** 0.5) for one in (found[0] if found else [])]

    def close(self) -> None:
        """Let go of the channel."""
        made, self._made = self._made, None
        if made is not None:
            made.close()

    def _client(self) -> "MilvusClient":
        if self._made is None:
            from pymilvus import MilvusClient  # noqa: PLC0415

            logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)  # it logs each failure that it also raises
            token = self._where.key or ""
            self._made = MilvusClient(uri=self._where.url, token=token, timeout=self._where.within_s, dedicated=True)
        return self._made

    def _call[Answer](self, collection: str, ask: "Callable[[MilvusClient, float], Answer]") -> Answer:
        what = f"Milvus at {self._where.url}{f', collection {collection}' if collection else ''}"
        within_s = self._where.within_s
        theirs = _their_errors()
        if self._made is None:
            try:
                self._client()
            except theirs as error:
                words = f"{what}: no connection within {within_s:g} s: {_said(error)}; is the database running?"
                raise NotReached(words) from error
        try:
            return ask(self._client(), within_s)
        except theirs as error:
            explained = _explained(what, error, within_s)
            if isinstance(explained, Unreachable):
                self.close()  # its channel would wait out a pause of its own before it tries again
            raise explained from error


def _their_errors() -> tuple[type[Exception], ...]:
    """Return what the client raises: its own errors and those of gRPC below it, which it does not always wrap."""
    try:
        from grpc import RpcError  # noqa: PLC0415
        from pymilvus.exceptions import MilvusException  # noqa: PLC0415
    except ImportError as error:
        raise BadArgument("A Milvus database needs its client: pip install 'chaostoolkit-gpu[milvus]'.") from error
    return MilvusException, RpcError


def _said(error: Exception) -> str:
    return str(getattr(error, "message", "") or error).strip().replace("\n", " ")[:300]


def _explained(what: str, error: Exception, within_s: float) -> Exception:
    """Turn what pymilvus raises into the errors that a backend may raise; what is none of Milvus's goes on as it is."""
    from pymilvus.exceptions import MilvusException, ParamError  # noqa: PLC0415

    words = _said(error)
    grpc = getattr(error, "code", None)
    code = grpc if isinstance(grpc, int) else None
    status = str(grpc() if callable(grpc) else "")
    if "DEADLINE_EXCEEDED" in words or "DEADLINE_EXCEEDED" in status or "Retry timeout" in words:
        return TooSlow(f"{what}: no whole answer within {within_s:g} s: {words}")
    if "UNAVAILABLE" in words or "UNAVAILABLE" in status or code == _NO_CONNECTION:
        return Unreachable(f"{what}: the connection broke off: {words}; is the database running?")
    if isinstance(error, ParamError):
        return NotTaken(f"{what}: the client did not send it: {words}.")
    if isinstance(error, MilvusException):
        if code in _NO_COLLECTION:
            return NoCollection(f"{what}: {words}. Is the name right? Ours are made with learn_canary.")
        if code in _NO_KEY:
            return Refused(f"{what}: {words}. It did not take the key; give the right one as the secret `key`.")
        if code in _NOT_LOADED:
            return AnswerWrong(f"{what}: {words}. Milvus answers of loaded collections only; load it.")
        return NotTaken(f"{what}: {words}.") if code in _BAD_REQUEST else AnswerWrong(f"{what}: {code} {words}.")
    return error if not status else Unreachable(f"{what}: {status} {words}.")
