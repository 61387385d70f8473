# SPDX-License-Identifier: Apache-2.0
"""How a secret may be spelled by whoever prints it, beyond plain, URL, base64, hexadecimal and JSON spelling."""

import base64
import html
import json
import quopri
import shlex
from collections.abc import Iterator
from urllib.parse import quote

__all__ = ["more_spellings"]


def more_spellings(secret: str) -> Iterator[str]:
    r"""Yield what else a secret is looked for as.

    URL-quoted twice and with every byte quoted; base64 twice; base32 and base85; hexadecimal with `:`, a space, `\x` or
    `0x`; each character as `\u….`; escaped for HTML, and for a shell; as a Python or C literal; quoted-printable;
    UTF-16 in base64. Text that runs on over line ends is for whoever searches.
    """
    raw = secret.encode()
    once = quote(secret, safe="")
    yield quote(once, safe="")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(encode(raw)).decode().rstrip("=")
        for order in ("utf-16-le", "utf-16-be"):
            yield encode(secret.encode(order)).decode().rstrip("=")
    yield base64.b32encode(raw).decode().rstrip("=")
    yield base64.b85encode(raw).decode()
    for pairs in ([f"{byte:02x}" for byte in raw], [f"{byte:02X}" for byte in raw]):
        yield from (mark.join(["", *pairs]) for mark in ("%", "\\x"))
        yield from (mark.join(pairs) for mark in (":", " ", ", 0x", ",0x"))
    yield "".join(f"\\{byte:03o}" for byte in raw)
    yield from ("".join(f"\\u{ord(sign):04x}" for sign in secret), "".join(f"\\u{ord(sign):04X}" for sign in secret))
    yield from (html.escape(secret), html.escape(secret, quote=False))
    yield from ("".join(f"&#{ord(sign)};" for sign in secret), "".join(f"&#x{ord(sign):x};" for sign in secret))
    yield from (shlex.quote(secret)[1:-1], repr(secret)[1:-1], repr(raw)[2:-1])
    yield json.dumps(html.escape(secret))[1:-1]
    yield quopri.encodestring(raw, quotetabs=False).decode().rstrip("\n")
