# SPDX-License-Identifier: Apache-2.0
"""Which database an experiment means: its kind, its address, its key, and how long one call may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import seconds

__all__ = ["KINDS", "Address", "address", "http_base"]

# The kinds, each with the form of its address.
KINDS = {
    "chroma": "http://HOST:PORT or http://HOST:PORT/TENANT/DATABASE",
    "milvus": "http://HOST:PORT",
    "pgvector": "postgresql://USER@HOST:PORT/DATABASE",
    "qdrant": "http://HOST:PORT",
}


@dataclass(frozen=True)
class Address:
    """One database; the key is kept out of what is printed."""

    kind: str
    url: str
    parts: SplitResult
    within_s: float
    key: str | None = field(default=None, repr=False)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted and the server's certificate is checked."""
        return self.parts.scheme == "https" or "sslmode=verify-full" in self.parts.query


def address(kind: object, url: object, within_s: object, secrets: Mapping[str, object] | None) -> Address:
    """Check all of it by value: an address with a key in it is refused, since addresses are shown."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise BadArgument(f"backend must be one of {', '.join(KINDS)}, not {kind!r}.")
    form = f"url of a {kind} database must be {KINDS[kind]}"
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable, parts = False, urlsplit("")
    schemes = ("postgresql",) if kind == "pgvector" else ("http", "https")
    if parts.password:
        raise BadArgument(f"{form}, without a password in it: give that as the secret `key`.")
    if not usable or parts.scheme not in schemes or parts.fragment:
        raise BadArgument(f"{form}, not {url!r}.")
    key = (secrets or {}).get("key")
    if key is not None and (not isinstance(key, str) or not key):
        raise BadArgument("The secret `key` must be a text that is not empty.")
    return Address(kind, str(url), parts, seconds("timeout_s", within_s), key)


def http_base(where: Address) -> str:
    """Return scheme, host and port of an HTTP address; the path is the database's own business."""
    return f"{where.parts.scheme}://{where.parts.netloc}"
