# SPDX-License-Identifier: Apache-2.0
"""What the gateway depends on, played by one small server whose generator can be told to fail or to hang."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstreams:
    """`chat` is what the generator does: answer, fail (500), or hang until it may go on."""

    def __init__(self) -> None:
        self.chat = "answer"
        self.may_go_on = threading.Event()
        self.url = ""

    def says(self, path: str) -> object:
        if path.endswith("/embed/infer"):
            return {"outputs": [{"name": "EMBEDDING", "data": [0.6, 0.8]}]}
        if path.endswith("/query"):
            return {"ids": [["document-1", "document-2"]], "documents": [["fan of rack", "heat of node"]]}
        if path.endswith("/chat/infer"):
            return {"outputs": [{"name": "TEXT", "data": ["rack node card fan"]}]}
        return {"id": "0000-1111"}


@contextmanager
def upstreams() -> Iterator[Upstreams]:
    """Serve for as long as the block lasts."""
    scripted = Upstreams()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            chat = scripted.chat if self.path.endswith("/chat/infer") else "answer"
            if chat == "hang":
                scripted.may_go_on.wait(20)
            body = json.dumps(scripted.says(self.path)).encode()
            self.send_response(500 if chat == "fail" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # the gateway has given up waiting
                super().handle()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        scripted.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield scripted
        finally:
            scripted.may_go_on.set()
            server.shutdown()
            thread.join()
