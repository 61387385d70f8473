# SPDX-License-Identifier: Apache-2.0
"""A small server that keeps to Qdrant's published OpenAPI description (1.19) for the calls that we make.

A request that the description would not allow is answered as Qdrant answers one: 400 with a status object. It is no
Qdrant: what a real one does under a fault cannot be learned from it.
"""

import heapq
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

_ID = {"type": "integer", "minimum": 0}
_VECTOR = {"type": "array", "items": {"type": "number"}, "minItems": 1}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


# The parts of the published schemas that our requests use; a key that is not theirs is refused, which Qdrant ignores.
_DISTANCE = {"enum": ["Cosine", "Euclid", "Dot", "Manhattan"]}
_SCHEMAS = {
    "CreateCollection": _object(["vectors"], vectors=_object(["size", "distance"], size=_ID, distance=_DISTANCE)),
    "PointsList": _object(
        ["points"], points={"type": "array", "items": _object(["id", "vector"], id=_ID, vector=_VECTOR)}
    ),
    "PointIdsList": _object(["points"], points={"type": "array", "items": _ID}),
    "PointRequest": _object(
        ["ids"], ids={"type": "array", "items": _ID}, with_vector={"type": "boolean"}, with_payload={"type": "boolean"}
    ),
    "QueryRequest": _object(
        ["query", "limit"], query=_VECTOR, limit={"type": "integer", "minimum": 1}, with_payload={"type": "boolean"}
    ),
    "CountRequest": _object([], exact={"type": "boolean"}),
}


@dataclass
class Store:
    """The collections of one server: name, size of a vector, points."""

    key: str | None = None
    collections: dict[str, tuple[int, dict[int, list[float]]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Refused(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: Store

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, value: Any, kind: str = "application/json") -> None:
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        words = [word for word in parts.path.split("/") if word]
        if words in (["healthz"], ["livez"], ["readyz"]):  # without a key, as the real ones
            return self._answer(200, f"{words[0]} check passed", "text/plain")
        if self.store.key is not None and self.headers.get("api-key") != self.store.key:
            return self._answer(401, "Must provide an API key or an Authorization bearer token", "text/plain")
        if not words:
            return self._answer(200, {"title": "qdrant - vector search engine", "version": "1.19.0"})
        try:
            with self.store.lock:
                result = self._done(words, parse_qs(parts.query), body)
        except _Refused as refused:
            return self._answer(refused.status, {"status": {"error": str(refused)}, "time": 0.0})
        return self._answer(200, {"result": result, "status": "ok", "time": 0.0})

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 (names of http.server)

    def _checked(self, schema: str, body: bytes) -> Any:
        try:
            value = json.loads(body, parse_constant=_no_constant)
        except ValueError as error:
            raise _Refused(400, f"Format error in JSON body: {error}") from error
        errors = [error.message for error in Draft202012Validator(_SCHEMAS[schema]).iter_errors(value)]
        if errors:
            raise _Refused(400, f"Format error in JSON body: {errors[0]}")
        return value

    def _done(self, words: list[str], query: dict[str, list[str]], body: bytes) -> Any:
        if words[0] != "collections" or len(words) < 2:
            raise _Refused(404, "Not found")
        name, verb = words[1], "/".join([self.command, *words[2:]])
        collections = self.store.collections
        if verb == "PUT":
            if name in collections:
                raise _Refused(409, f"Wrong input: Collection `{name}` already exists!")
            collections[name] = (self._checked("CreateCollection", body)["vectors"]["size"], {})
            return True
        if verb == "DELETE":
            return collections.pop(name, None) is not None
        if name not in collections:
            raise _Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        if verb in ("PUT/points", "POST/points/delete") and query != {"wait": ["true"]}:
            raise _Refused(400, "the contract server wants wait=true: what is not waited for is not acknowledged")
        if verb not in _VERBS:
            raise _Refused(404, "Not found")
        schema, does = _VERBS[verb]
        return does(self._checked(schema, body), *collections[name])


type _Points = dict[int, list[float]]


def _upsert(asked: Any, size: int, points: _Points) -> Any:
    for one in asked["points"]:
        _sized(one["vector"], size)
    points.update({one["id"]: one["vector"] for one in asked["points"]})
    return {"operation_id": 1, "status": "completed"}


def _delete(asked: Any, _size: int, points: _Points) -> Any:
    for one in asked["points"]:
        points.pop(one, None)
    return {"operation_id": 1, "status": "completed"}


def _get(asked: Any, _size: int, points: _Points) -> Any:
    return [{"id": one, "vector": points[one], "payload": None} for one in asked["ids"] if one in points]


def _query(asked: Any, size: int, points: _Points) -> Any:
    vector = _sized(asked["query"], size)
    scored = heapq.nsmallest(asked["limit"], ((math.dist(vector, other), one) for one, other in points.items()))
    return {"points": [{"id": one, "version": 1, "score": far} for far, one in scored]}


_VERBS: dict[str, tuple[str, Callable[[Any, int, _Points], Any]]] = {
    "PUT/points": ("PointsList", _upsert),
    "POST/points/delete": ("PointIdsList", _delete),
    "POST/points": ("PointRequest", _get),
    "POST/points/query": ("QueryRequest", _query),
    "POST/points/count": ("CountRequest", lambda _asked, _size, points: {"count": len(points)}),
}


def _sized(vector: list[float], size: int) -> list[float]:
    if len(vector) != size:
        raise _Refused(400, f"Wrong input: Vector dimension error: expected dim: {size}, got {len(vector)}")
    return vector


def _no_constant(word: str) -> float:
    raise ValueError(f"expected value, got {word}")


@contextmanager
def qdrant(key: str | None = None) -> Iterator[str]:
    """Serve for as long as the block lasts; the address."""
    handler = type("Handler", (_Handler,), {"store": Store(key)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
