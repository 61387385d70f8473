# SPDX-License-Identifier: Apache-2.0
"""Qdrant over its REST API, after the OpenAPI description that it publishes (1.19).

Tested against a server of ours that keeps to that description, not against a Qdrant: see docs/vectordb.md.
"""

from collections.abc import Sequence
from urllib.parse import quote

from chaosgpu.errors import Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.contract import Hit, Row, TooSlow, Vector
from chaosgpu.vectordb.backends.rest import GONE, Reply, Rest

__all__ = ["Qdrant"]

_OK = 200


class Qdrant:
    """One Qdrant server, or one node of a cluster."""

    name = "qdrant"

    def __init__(self, where: Address) -> None:
        """Remember where; nothing is sent yet."""
        self._url = where.url
        self._rest = Rest(where, {"api-key": where.key} if where.key else {})

    def healthy(self) -> bool:
        """Ask `/readyz`: in a cluster it looks at the node's shards."""
        return self._rest.call("GET", "/readyz").status == _OK

    def version(self) -> str:
        """Return the server's version."""
        reply = self._rest.call("GET", "/")
        return str(reply.value.get("version")) if isinstance(reply.value, dict) else "unknown"

    def count(self, collection: str) -> int:
        """Return the exact count."""
        result = self._of("POST", collection, "/points/count", {"exact": True})
        count = result.get("count") if isinstance(result, dict) else None
        if not isinstance(count, int):
            raise Unreachable(f"The count of {collection} at {self._url} is {count!r}; is this a Qdrant server?")
        return count

    def create(self, collection: str, dimension: int) -> None:
        """Make it; Qdrant builds its HNSW index by itself."""
        self._of("PUT", collection, "", {"vectors": {"size": dimension, "distance": "Euclid"}})

    def drop(self, collection: str) -> None:
        """Remove it."""
        reply = self._rest.call("DELETE", f"/collections/{quote(collection)}")
        if reply.status != GONE:
            self._result(reply, collection)

    def open(self, collection: str) -> None:
        """Nothing is needed."""

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Upsert and wait for it to be applied."""
        points: list[JsonValue] = [{"id": row.id, "vector": list(row.vector)} for row in rows]
        self._updated(self._of("PUT", collection, "/points?wait=true", {"points": points}), collection)

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete and wait for it to be applied."""
        self._updated(self._of("POST", collection, "/points/delete?wait=true", {"points": list(ids)}), collection)

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        """Fetch by id."""
        body: JsonObject = {"ids": list(ids), "with_vector": True, "with_payload": False}
        result = self._of("POST", collection, "/points", body)
        return [Row(int(str(one["id"])), _vector(one.get("vector"))) for one in _objects(result)]

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        """Query through the index."""
        body: JsonObject = {"query": list(vector), "limit": k, "with_payload": False}
        result = self._of("POST", collection, "/points/query", body)
        points = result.get("points") if isinstance(result, dict) else None
        return [Hit(int(str(one["id"])), _number(one.get("score"))) for one in _objects(points)]

    def close(self) -> None:
        """Let go of the connection."""
        self._rest.close()

    def _updated(self, result: JsonValue, collection: str) -> None:
        status = result.get("status") if isinstance(result, dict) else None
        if status not in ("completed", "acknowledged"):
            raise TooSlow(f"Qdrant at {self._url}, collection {collection}: the update is {status!r}, not completed.")

    def _of(self, method: str, collection: str, verb: str, body: JsonValue = None) -> JsonValue:
        return self._result(self._rest.call(method, f"/collections/{quote(collection)}{verb}", body), collection)

    def _result(self, reply: Reply, collection: str) -> JsonValue:
        if reply.status == _OK:
            return reply.value.get("result") if isinstance(reply.value, dict) else None
        raise reply.refused(f"Qdrant at {self._url}, collection {collection}")


def _objects(value: JsonValue) -> list[JsonObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _vector(value: JsonValue) -> Vector:
    return tuple(float("nan") if x is None else float(str(x)) for x in value) if isinstance(value, list) else ()


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
