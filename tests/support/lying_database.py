# SPDX-License-Identifier: Apache-2.0
"""A proxy before a real Chroma that lies in one way, as databases have been seen to; honest, it only cuts connections.

drop: writes are acknowledged and not passed on. undelete: deletes are. forget_updates: the first write to a row is
passed on, later ones are acknowledged and not. duplicate: reads give rows twice. swap: two rows of a write change
vectors. corrupt: one number of a written vector is changed. stale: reads give a row as it was first seen. worse:
searches give other rows. refuse: a write is answered with an error and done all the same.
"""

import json
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Json = Any

LIES = ("drop", "undelete", "forget_updates", "duplicate", "swap", "corrupt", "stale", "worse", "refuse")
_VERBS = ("upsert", "delete", "get", "query")
_OK = 200
_WITHIN_S = 20.0


class Liar:
    """What one proxy remembers; `share` of what it could lie about is lied about."""

    def __init__(self, lie: str | None, seed: int, share: float = 0.1, cut: float = 0.0) -> None:
        self.lie, self.share, self.cut = lie, share, cut
        self.told = 0
        self._rng = random.Random(f"{lie}/{seed}")
        self._lock = threading.Lock()
        self._first: dict[str, list[float]] = {}
        self._written: set[str] = set()

    def lies(self, lie: str) -> bool:
        """Say whether to lie now, and count it."""
        with self._lock:
            if self.lie != lie or self._rng.random() >= self.share:
                return False
            self.told += 1
            return True

    def cuts(self) -> bool:
        with self._lock:
            return self._rng.random() < self.cut

    def request(self, verb: str, body: Json) -> Json | None:
        """Return the request as it is passed on, or None where it is only acknowledged."""
        ids: list[str] = body.get("ids") or []
        if verb == "upsert":
            with self._lock:
                known = set(ids) <= self._written
                self._written |= set(ids)
            if self.lies("drop") or (known and self.lies("forget_updates")):
                return None
            vectors = body["embeddings"]
            if len(ids) > 1 and self.lies("swap"):
                return {**body, "embeddings": [vectors[1], vectors[0], *vectors[2:]]}
            if self.lies("corrupt"):
                return {**body, "embeddings": [[vectors[0][0] + 0.5, *vectors[0][1:]], *vectors[1:]]}
        if verb == "delete" and self.lies("undelete"):
            return None
        return body

    def answer(self, verb: str, value: Json) -> Json:
        """Return the answer as it is given."""
        if verb == "get" and value.get("embeddings"):
            if self.lies("duplicate"):
                return {**value, "ids": value["ids"] * 2, "embeddings": value["embeddings"] * 2}
            if self.lie == "stale":
                return {
                    **value,
                    "embeddings": [self._as_first(*one) for one in zip(value["ids"], value["embeddings"], strict=True)],
                }
        if verb == "query" and self.lies("worse"):
            rows = [str(10_000_000 + at) if at % 2 else one for at, one in enumerate(value["ids"][0])]
            return {**value, "ids": [rows]}
        return value

    def _as_first(self, row: str, vector: list[float]) -> list[float]:
        with self._lock:
            first = self._first.setdefault(row, vector)
            self.told += first != vector
        return first


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    behind: str
    liar: Liar
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        verb = self.path.rpartition("/")[2] if self.command == "POST" else ""
        write = verb in ("upsert", "delete")
        if write and self.liar.cuts():  # before it is done
            self.close_connection = True
            return
        status, value = self._lied(verb, json.loads(raw)) if verb in _VERBS else self._pass_on(raw or None)
        if write and self.liar.cuts():  # after it
            self.close_connection = True
            return
        if verb == "upsert" and self.liar.lies("refuse"):
            status, value = 400, {"error": "InvalidArgumentError", "message": "no"}
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815 (names of http.server)

    def _lied(self, verb: str, body: Json) -> tuple[int, Json]:
        passed = self.liar.request(verb, body)
        if passed is None:
            return 200, {}
        status, value = self._pass_on(json.dumps(passed).encode())
        return status, self.liar.answer(verb, value) if status == _OK else value

    def _pass_on(self, body: bytes | None) -> tuple[int, Json]:
        headers = {"Content-Type": "application/json"}
        url = self.behind + self.path
        asked = urllib.request.Request(url, body, headers, method=self.command)  # noqa: S310 (the lab's own server)
        try:
            with self.direct.open(asked, timeout=_WITHIN_S) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()


@contextmanager
def lying_in_front(behind: str, liar: Liar) -> Iterator[str]:
    """Serve for as long as the block lasts; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"behind": behind, "liar": liar}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
