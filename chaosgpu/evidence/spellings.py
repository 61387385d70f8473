# SPDX-License-Identifier: Apache-2.0
"""How a secret may be spelled by whoever prints it, beyond the forms that are taken out while a run is written."""

import base64
import html
import json
import quopri
import shlex
from collections.abc import Iterator
from urllib.parse import quote

from chaosgpu.fleet.redaction import forms

__all__ = ["spellings"]

_SHORTEST = 4


def spellings(secret: str) -> frozenset[str]:
    r"""Return every form in which a secret is looked for, longer than what would tear other text to pieces.

    Plain; URL-quoted, once and twice, and with every byte quoted; base64 and base64url at each offset, and twice;
    base32; hexadecimal, bare and with `:`, a space, `\x` or `0x`; escaped for JSON once and twice, and with every
    character as `\u….`; escaped for HTML, and for a shell; as a Python or C literal; quoted-printable;
    UTF-16 in base64.
    Text that runs on over line ends, and the case of hexadecimal digits, are for whoever searches.
    """
    return frozenset(form for form in {*forms(secret), *_more(secret)} if len(form) >= _SHORTEST)


def _more(secret: str) -> Iterator[str]:
    raw = secret.encode()
    once = quote(secret, safe="")
    yield from (quote(once, safe=""), "".join(f"%{byte:02x}" for byte in raw))
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(encode(raw)).decode().rstrip("=")
        for order in ("utf-16-le", "utf-16-be"):
            yield encode(secret.encode(order)).decode().rstrip("=")
    yield base64.b32encode(raw).decode().rstrip("=")
    yield base64.b85encode(raw).decode()
    pairs = [f"{byte:02x}" for byte in raw]
    yield from (":".join(pairs), " ".join(pairs), "".join(f"\\x{pair}" for pair in pairs))
    yield from (", ".join(f"0x{pair}" for pair in pairs), ",".join(f"0x{pair}" for pair in pairs))
    yield "".join(f"\\{byte:03o}" for byte in raw)
    yield "".join(f"\\u{ord(sign):04x}" for sign in secret)
    yield from (html.escape(secret), html.escape(secret, quote=False))
    yield from ("".join(f"&#{ord(sign)};" for sign in secret), "".join(f"&#x{ord(sign):x};" for sign in secret))
    yield from (shlex.quote(secret)[1:-1], repr(secret)[1:-1], repr(raw)[2:-1])
    yield json.dumps(html.escape(secret))[1:-1]
    yield quopri.encodestring(raw, quotetabs=False).decode().rstrip("\n")
