# SPDX-License-Identifier: Apache-2.0
"""One request of the traffic as bytes ready to send, with the judge of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Prompt", "Reply", "http_request"]

_OK = 200
# A right answer has few forms, such as another order of its header; the rest is judged anew each time.
_KNOWN_MOST = 16


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP status, how much of the body is KServe's JSON header, the body."""

    status: int
    json_bytes: int | None
    body: bytes


@dataclass(frozen=True)
class Prompt:
    """A request and how its answer is judged: `judge` says why an answer is wrong, or None."""

    request: bytes
    judge: Callable[[Reply], str | None]
    wanted_status: int = _OK
    _right: set[bytes] = field(default_factory=set)

    def why_wrong(self, reply: Reply) -> str | None:
        """Judge an answer; one that is byte for byte a right one needs no second look."""
        if reply.body in self._right:
            return None
        why = self.judge(reply)
        if why is None and len(self._right) < _KNOWN_MOST:
            self._right.add(reply.body)
        return why


def http_request(method: str, path: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Write one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
