# SPDX-License-Identifier: Apache-2.0
"""One REST call with a deadline over all of it and a bound on the answer; every failure is one sentence."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosgpu.errors import AnswerWrong, ChaosGpuError, NotReached, Refused, Unreachable
from chaosgpu.fleet.values import JsonValue
from chaosgpu.vectordb.backends.address import Address, http_base
from chaosgpu.vectordb.backends.contract import NoCollection, NotTaken, TooSlow

if TYPE_CHECKING:
    import requests

__all__ = ["GONE", "Reply", "Rest"]

MAX_ANSWER_BYTES = 64 * 1024 * 1024
GONE = 404
_NO_KEY = (401, 403)
_THEIR_FAULT = 500
_PIECE = 65536


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP status, and the body as JSON (None where it is none)."""

    status: int
    value: JsonValue
    text: str

    def refused(self, whose: str) -> ChaosGpuError:
        """Return the error that a status other than success is; `whose`: the database and the collection."""
        told = f"{whose}: HTTP {self.status}: {self.words()}"
        if self.status == GONE:
            return NoCollection(f"{told}. Is the name right? Ours are made with learn_canary.")
        if self.status in _NO_KEY:
            return Refused(f"{told}. It did not take the key; give the right one as the secret `key`.")
        return NotTaken(f"{told}.") if self.status < _THEIR_FAULT else AnswerWrong(f"{told}.")

    def words(self) -> str:
        """Return the database's own words for what went wrong."""
        value = self.value.get("status", self.value) if isinstance(self.value, dict) else None
        if isinstance(value, dict):
            for key in ("error", "message"):
                if isinstance(said := value.get(key), str) and isinstance(more := value.get("message", ""), str):
                    return said if key == "message" or not more or more == said else f"{said}: {more}"
        return self.text[:200].strip() or "an empty answer"


class Rest:
    """A connection to one HTTP server, kept open between calls. Environment proxies and netrc are not asked."""

    def __init__(self, where: Address, headers: Mapping[str, str]) -> None:
        """Remember where; nothing is sent yet."""
        self._where, self._headers = where, dict(headers)
        self._session: requests.Session | None = None

    def call(self, method: str, path: str, body: JsonValue = None) -> Reply:
        """Send one request and read the whole answer; any status is returned."""
        import requests  # noqa: PLC0415 (60 ms that validation does without)

        what = f"{method} {path} at {self._where.url}"
        within_s = self._where.within_s
        deadline = time.monotonic() + within_s
        if self._session is None:
            self._session = requests.Session()
            self._session.trust_env = False  # a proxy or a netrc of the environment is not what the experiment named
        try:
            with self._session.request(
                method,
                f"{http_base(self._where)}{path}",
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json", **self._headers},
                timeout=within_s,
                allow_redirects=False,
                stream=True,
                verify=os.environ.get("SSL_CERT_FILE") or True,
            ) as response:
                received = self._read(response, deadline, what)
                return Reply(response.status_code, _json(received), received.decode("utf-8", "replace"))
        except requests.exceptions.SSLError as error:
            raise NotReached(
                f"{what}: no trusted TLS connection: {_root(error)}. Does the port speak TLS, and is its certificate "
                "signed by an authority of this system or in $SSL_CERT_FILE?"
            ) from error
        except requests.exceptions.ConnectTimeout as error:
            raise NotReached(f"{what}: no connection within {within_s:g} s.") from error
        except requests.exceptions.Timeout as error:
            raise TooSlow(f"{what}: no whole answer within {within_s:g} s.") from error
        except requests.exceptions.RequestException as error:
            self.close()
            root = _root(error)
            if isinstance(root, ConnectionRefusedError):
                raise NotReached(f"{what}: connection refused; is the database running?") from error
            if type(root).__name__ in ("NewConnectionError", "NameResolutionError", "gaierror"):
                raise NotReached(f"{what}: {root}.") from error
            raise Unreachable(f"{what}: the connection broke off: {root}; see the database's log.") from error

    def _read(self, response: "requests.Response", deadline: float, what: str) -> bytes:
        received = bytearray()
        # One read of the socket at a time: iter_content fills its pieces, and a server that drips would never end.
        while piece := response.raw.read1(_PIECE, decode_content=True):
            received += piece
            if time.monotonic() > deadline:
                raise TooSlow(f"{what}: no whole answer within {self._where.within_s:g} s.")
            if len(received) > MAX_ANSWER_BYTES:
                raise Unreachable(f"{what}: the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB; is the url right?")
        return bytes(received)

    def close(self) -> None:
        """Let go of the connection; the next call makes another."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _json(received: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(received)
    except ValueError:
        return None
    return value


def _root(error: BaseException) -> BaseException:
    """Return the error below the wrappers of requests and urllib3."""
    seen: BaseException = error
    for _ in range(8):
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in seen.args if isinstance(one, BaseException)), None)
        if inner is None and seen.__cause__ is not None:
            inner = seen.__cause__
        if not isinstance(inner, BaseException):
            return seen
        seen = inner
    return seen
