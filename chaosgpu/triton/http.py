# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with a deadline over all of it and a bound on the answer; every failure is one sentence."""

import http.client
import io
import json
import socket
import time
from dataclasses import dataclass
from typing import override
from urllib.parse import urlsplit

from chaosgpu.errors import BadArgument, Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["MAX_ANSWER_BYTES", "Answer", "TooSlow", "exchange", "service_address"]

# A canary answers kilobytes; the configuration of a large model some hundred. More is not an answer we asked for.
MAX_ANSWER_BYTES = 16 * 1024 * 1024


class TooSlow(Unreachable):
    """The deadline passed before the whole answer was there."""


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP status, the header lengths that matter here, the body, the time it took."""

    status: int
    body: bytes
    json_bytes: int | None
    latency_s: float

    def json(self, what: str) -> JsonValue:
        """Read the body as JSON, or say that it is none."""
        try:
            value: JsonValue = json.loads(self.body)
        except ValueError as error:
            raise Unreachable(f"{what}: the answer (HTTP {self.status}) is not JSON: {_shown(self.body)}.") from error
        return value

    def error(self) -> str:
        """Return the service's own words for what went wrong."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return _shown(self.body)
        error = value.get("error") if isinstance(value, dict) else None
        return error if isinstance(error, str) else _shown(self.body)


def _shown(body: bytes) -> str:
    text = body[:120].decode("utf-8", "replace").strip()
    return repr(text) if text else "an empty body"


def service_address(url: object, of: str = "a Triton server", port_if_none: int = 8000) -> tuple[str, int]:
    """Split `http://host:port`; anything else is refused with a sentence."""
    sentence = f"url must be http://HOST:PORT of {of}, not {url!r}."
    if not isinstance(url, str):
        raise BadArgument(sentence)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadArgument(sentence) from error
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
        raise BadArgument(sentence)
    return parts.hostname, port_if_none if port is None else port


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _RawReader(io.RawIOBase):
    """Reads from a socket; each piece gets only what is left of the whole time."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._socket, self._deadline = connected, deadline

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: object, /) -> int:
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)  # type: ignore[arg-type] # typeshed has no name for a writable buffer here


class _BoundSocket:
    """The three methods of a socket that http.client uses, all under one deadline."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._socket, self._deadline = connected, deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_RawReader(self._socket, self._deadline))

    def close(self) -> None:
        """Leave it open: http.client lets go of it before the answer is read; the exchange closes it."""


def exchange(
    url: str,
    method: str,
    path: str,
    *,
    within_s: float,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request and read the whole answer within `within_s` seconds, connecting included."""
    host, port = service_address(url)
    what = f"{method} {path} at {url}"
    started = time.monotonic()
    deadline = _Deadline(within_s)
    connection = http.client.HTTPConnection(host, port)
    connected: socket.socket | None = None
    try:
        connected = socket.create_connection((host, port), timeout=deadline.left())
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = _BoundSocket(connected, deadline)
        connection.request(method, path, body=body or None, headers={"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        received = response.read(MAX_ANSWER_BYTES + 1)
        if len(received) > MAX_ANSWER_BYTES:
            raise Unreachable(f"{what}: the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB; is this Triton?")
        promised = response.getheader("Content-Length")
        if promised is not None and promised.isdigit() and len(received) < int(promised):
            raise Unreachable(_cut_off(what, len(received)))
        length = response.getheader("Inference-Header-Content-Length")
        json_bytes = int(length) if length is not None and length.isdigit() else None
        return Answer(response.status, received, json_bytes, time.monotonic() - started)
    except TimeoutError as error:
        raise TooSlow(f"{what}: no whole answer within {within_s:g} s.") from error
    except http.client.IncompleteRead as error:
        raise Unreachable(_cut_off(what, len(error.partial))) from error
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
        raise Unreachable(f"{what}: the service closed the connection without an answer; see its log.") from error
    except http.client.HTTPException as error:
        raise Unreachable(f"{what}: what came back is not HTTP ({type(error).__name__}); is the port right?") from error
    except OSError as error:
        raise Unreachable(f"{what}: {error.strerror or error}; is the server running?") from error
    finally:
        connection.close()
        if connected is not None:
            connected.close()


def _cut_off(what: str, received: int) -> str:
    return f"{what}: the service closed the connection in the middle of its answer, after {received} bytes."


def json_body(value: JsonObject) -> bytes:
    """Encode a request's JSON body."""
    return json.dumps(value).encode()
