# SPDX-License-Identifier: Apache-2.0
"""Chroma over its REST API, version 2."""

from collections.abc import Sequence
from urllib.parse import quote

from chaosgpu.errors import Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.contract import Hit, Row, Vector
from chaosgpu.vectordb.backends.rest import GONE, Reply, Rest

__all__ = ["Chroma"]

_OK = range(200, 300)
_DEFAULT_PATH = ("default_tenant", "default_database")


class Chroma:
    """One Chroma server; collections are found by name once, since its calls want their ids."""

    name = "chroma"

    def __init__(self, where: Address) -> None:
        """Remember where; nothing is sent yet."""
        words = [word for word in where.parts.path.split("/") if word]
        tenant, database = words if len(words) == len(_DEFAULT_PATH) else _DEFAULT_PATH
        self._base = f"/api/v2/tenants/{quote(tenant)}/databases/{quote(database)}/collections"
        self._url = where.url
        self._rest = Rest(where, {"x-chroma-token": where.key} if where.key else {})
        self._ids: dict[str, str] = {}

    def healthy(self) -> bool:
        """Ask the health check."""
        return self._rest.call("GET", "/api/v2/healthcheck").status in _OK

    def version(self) -> str:
        """Return the server's version."""
        return str(self._rest.call("GET", "/api/v2/version").value)

    def count(self, collection: str) -> int:
        """Return the count that the server gives."""
        value = self._of("GET", collection, "count")
        if not isinstance(value, int):
            raise Unreachable(f"The count of {collection} at {self._url} is {value!r}; is this a Chroma server?")
        return value

    def create(self, collection: str, dimension: int) -> None:
        """Make it; Chroma takes the dimension from the first vector."""
        del dimension
        body: JsonObject = {"name": collection, "configuration": {"hnsw": {"space": "l2"}}}
        self._answer(self._rest.call("POST", self._base, body), collection)
        self._ids.pop(collection, None)

    def drop(self, collection: str) -> None:
        """Remove it."""
        self._ids.pop(collection, None)
        reply = self._rest.call("DELETE", f"{self._base}/{quote(collection)}")
        if reply.status != GONE:
            self._answer(reply, collection)

    def open(self, collection: str) -> None:
        """Look its id up anew: a restored server may have another one."""
        self._ids.pop(collection, None)
        self._id(collection)

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Upsert."""
        self._of(
            "POST",
            collection,
            "upsert",
            {"ids": [str(row.id) for row in rows], "embeddings": [list(row.vector) for row in rows]},
        )

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete by id."""
        self._of("POST", collection, "delete", {"ids": [str(one) for one in ids]})

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        """Fetch by id."""
        body: JsonObject = {"ids": [str(one) for one in ids], "include": ["embeddings"]}
        value = self._of("POST", collection, "get", body)
        found, vectors = (value.get("ids"), value.get("embeddings")) if isinstance(value, dict) else (None, None)
        if not isinstance(found, list) or not isinstance(vectors, list) or len(found) != len(vectors):
            raise Unreachable(f"The rows of {collection} at {self._url} are not as Chroma gives them.")
        return [Row(int(str(one)), _vector(vector)) for one, vector in zip(found, vectors, strict=True)]

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        """Query."""
        body: JsonObject = {"query_embeddings": [list(vector)], "n_results": k, "include": ["distances"]}
        value = self._of("POST", collection, "query", body)
        found, apart = (value.get("ids"), value.get("distances")) if isinstance(value, dict) else (None, None)
        first = found[0] if isinstance(found, list) and found else None
        distances = apart[0] if isinstance(apart, list) and apart else None
        if not isinstance(first, list) or not isinstance(distances, list):
            raise Unreachable(f"The neighbours in {collection} at {self._url} are not as Chroma gives them.")
        return [Hit(int(str(one)), _number(far)) for one, far in zip(first, distances, strict=True)]

    def close(self) -> None:
        """Let go of the connection."""
        self._rest.close()

    def _id(self, collection: str) -> str:
        if collection not in self._ids:
            value = self._answer(self._rest.call("GET", f"{self._base}/{quote(collection)}"), collection)
            found = value.get("id") if isinstance(value, dict) else None
            if not isinstance(found, str):
                raise Unreachable(f"The collection {collection} at {self._url} has no id; is this a Chroma server?")
            self._ids[collection] = found
        return self._ids[collection]

    def _of(self, method: str, collection: str, verb: str, body: JsonValue = None) -> JsonValue:
        reply = self._rest.call(method, f"{self._base}/{self._id(collection)}/{verb}", body)
        if reply.status == GONE:
            self._ids.pop(collection, None)
        return self._answer(reply, collection)

    def _answer(self, reply: Reply, collection: str) -> JsonValue:
        if reply.status in _OK:
            return reply.value
        raise reply.refused(f"Chroma at {self._url}, collection {collection}")


def _vector(value: JsonValue) -> Vector:
    return tuple(float("nan") if x is None else float(str(x)) for x in value) if isinstance(value, list) else ()


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
