# SPDX-License-Identifier: Apache-2.0
"""Tell somebody by webhook. It never stops a drill: what was not told is told in the log."""

import http.client
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from chaosgpu.drill.plan import Notify
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.redaction import know, redact_text
from chaosgpu.fleet.values import JsonObject

__all__ = ["Post", "Teller", "post"]

type Post = Callable[[str, bytes, float], str | None]


def post(url: str, body: bytes, within_s: float) -> str | None:
    """Send one POST; return why it did not arrive, or None. Redirects are not followed."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "its address is no http:// or https:// address"
    connection = kind(parts.hostname, parts.port, timeout=within_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", "User-Agent": "chaosgpu"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return redact_text(f"it could not be reached: {str(error) or type(error).__name__}")
    finally:
        connection.close()
    return None if 200 <= status < 300 else f"it answered with HTTP {status}"  # noqa: PLR2004 (the range of success)


@dataclass
class Teller:
    """Tells what the plan asks to be told, and remembers what did not arrive."""

    notify: Notify | None
    url: str | None = None
    send: Post = post
    untold: tuple[str, ...] = ()

    @classmethod
    def of(cls, notify: Notify | None, environment: Mapping[str, str] = os.environ, send: Post = post) -> "Teller":
        """Find the address; BadArgument where it is not there, since then nobody would hear of the drill."""
        if notify is None:
            return cls(None)
        url = environment.get(notify.url_from_env)
        if not url:
            raise BadArgument(f"notify: ${notify.url_from_env} is not set, so nobody would be told: set it to the URL.")
        know([url])
        return cls(notify, url, send)

    def tell(self, what: str, said: JsonObject) -> None:
        """Send one message, if the plan asks for it."""
        if self.notify is None or self.url is None or what not in self.notify.on:
            return
        why = self.send(self.url, json.dumps({"what": what, **said}).encode(), self.notify.within_s)
        if why is not None:
            self.untold = (*self.untold, f"{what} was not told: {why}")
