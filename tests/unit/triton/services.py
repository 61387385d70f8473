# SPDX-License-Identifier: Apache-2.0
"""Small real servers on loopback, for what a real Triton cannot be made to show."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import override

from chaosgpu.triton.tensors import Tensor, encode

type Connection = socket.socket


@contextmanager
def raw(behave: Callable[[Connection], None]) -> Iterator[str]:
    """Serve connections by hand: `behave` gets each one after its request was read."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    connection.recv(65536)
                    behave(connection)
                except OSError:
                    continue

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()


def says(text: bytes) -> Callable[[Connection], None]:
    """Answer these bytes and close."""
    return lambda connection: connection.sendall(text)


def drips(head: bytes, every_s: float, pieces: int) -> Callable[[Connection], None]:
    """Answer a byte at a time, so that no single read ever times out."""

    def drip(connection: Connection) -> None:
        connection.sendall(head)
        for _ in range(pieces):
            connection.sendall(b"x")
            time.sleep(every_s)

    return drip


@dataclass(frozen=True)
class BinaryAnswer:
    """An inference answer of the binary extension: JSON, then tensors."""

    head: bytes
    tail: bytes


def inferred(*outputs: Tensor) -> BinaryAnswer:
    """Answer an inference with these outputs."""
    blobs = [encode(tensor) for tensor in outputs]
    described = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
            "parameters": {"binary_data_size": len(blob)},
        }
        for tensor, blob in zip(outputs, blobs, strict=True)
    ]
    return BinaryAnswer(json.dumps({"outputs": described}).encode(), b"".join(blobs))


type Pages = dict[tuple[str, str], Callable[[], tuple[int, object]]]


@contextmanager
def pages(table: Pages) -> Iterator[str]:
    """Serve fixed JSON (or text) by method and path."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            page = table.get((self.command, self.path))
            status, value = page() if page is not None else (404, {"error": "not here"})
            body = value.encode() if isinstance(value, str) else json.dumps(value, default=str).encode()
            self.send_response(status)
            if isinstance(value, BinaryAnswer):
                body = value.head + value.tail
                self.send_header("Inference-Header-Content-Length", str(len(value.head)))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = _answer  # noqa: N815 (the names that http.server looks up)
        do_POST = _answer  # noqa: N815

        @override
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"
