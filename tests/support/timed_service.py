# SPDX-License-Identifier: Apache-2.0
"""An HTTP service whose latencies are known: what a path asks for is what it does. For tests and figures.

`python timed_service.py` listens on a free port of 127.0.0.1, says which, and ends with its standard input.
/after/MS answers after so many milliseconds; /stall/MS answers at once and then serves nobody for so long; /status/N,
/wrong, /cut (in the middle of the body), /close (without an answer), /garbage, /never, /bare (no length) do as named.
"""

import asyncio
import os
import sys
import time
from typing import cast, override

import httptools

from chaosgpu.traffic.clockwork import precise_loop

RIGHT = b'{"answer": 42}'


class Service(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path = ""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url.decode()

    def on_message_complete(self) -> None:
        path, self._path = self._path, ""
        _, what, *more = path.split("/")
        if what == "after":
            asyncio.get_running_loop().call_later(float(more[0]) / 1000, self._answer)
        elif what == "stall":
            self._answer()
            asyncio.get_running_loop().call_soon(time.sleep, float(more[0]) / 1000)
        else:
            self._do(what, more)

    def _do(self, what: str, more: list[str]) -> None:
        if what == "status":
            self._answer(int(more[0]))
        elif what == "wrong":
            self._answer(body=b'{"answer": 41}')
        elif what == "cut":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + RIGHT[:5])
            self._transport.close()
        elif what == "garbage":
            self._transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        elif what == "bare":
            self._transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + RIGHT)
            self._transport.close()
        elif what == "close":
            self._transport.close()
        elif what != "never":
            self._answer(404)

    def _answer(self, status: int = 200, body: bytes = RIGHT) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, lambda: over.set() if not os.read(0, 1024) else None)
    await over.wait()


def main() -> None:
    """Serve until standard input ends."""
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_serve())


if __name__ == "__main__":
    main()
