# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection of the generator: it writes a request, parses the answer, and says how that ended."""

import asyncio
from collections.abc import Callable
from typing import cast, override

import httptools

from chaosgpu.traffic.prompt import Reply

__all__ = ["MAX_ANSWER_BYTES", "Broken", "Connection"]

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Broken(Exception):
    """The connection broke before the whole answer was there; the text is the kind of error."""


type Ended = Callable[["Connection", Reply | Broken], None]


class Connection(asyncio.Protocol):
    """Carries one request at a time. `ended` is called exactly once for each request."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._ended: Ended | None = None
        self._body: list[bytes] = []
        self._bytes = 0
        self._json_bytes: int | None = None
        self._framed = False
        self.idle_since_s = 0.0
        self.closed = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, ended: Ended) -> None:
        """Write a request."""
        self._ended, self._body, self._bytes = ended, [], 0
        self._json_bytes, self._framed = None, False
        self._transport.write(request)

    def abort(self) -> None:
        """Let go of it: nobody is told any more."""
        self._ended, self.closed = None, True
        self._transport.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self._ended is None:
            self.abort()  # an answer that nobody asked for: this connection is out of step
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(Broken("not_http"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take what matters of the headers (called by the parser)."""
        lower = name.lower()
        if lower == b"inference-header-content-length" and value.isdigit():
            self._json_bytes = int(value)
        elif lower in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body (called by the parser)."""
        self._bytes += len(body)
        if self._bytes > MAX_ANSWER_BYTES:
            self._end(Broken("too_large"))
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over (called by the parser)."""
        self.closed = self.closed or not self._parser.should_keep_alive()
        self._end(Reply(self._parser.get_status_code(), self._json_bytes, b"".join(self._body)))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        whole = exc is None and not self._framed and self._body
        # Without a length the end of the connection is the end of the answer.
        self._end(
            Reply(self._parser.get_status_code(), self._json_bytes, b"".join(self._body))
            if whole
            else Broken("broken_off")
        )

    def _end(self, how: Reply | Broken) -> None:
        ended, self._ended = self._ended, None
        if isinstance(how, Broken):
            self.closed = True
        if self.closed:
            self._transport.abort()
        if ended is not None:
            ended(self, how)
