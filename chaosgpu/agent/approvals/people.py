# SPDX-License-Identifier: Apache-2.0
"""Who is who among those that sign: names that may mean one person, and whose key a key is."""

import base64
import hashlib
import re
from typing import List

__all__ = ["NAME", "holders", "person", "same_person"]

NAME = re.compile(r"[A-Za-z0-9._+@-]{1,120}")
_BLOB = re.compile(r"\s(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[A-Za-z0-9@.-]+\s+([A-Za-z0-9+/]{40,}={0,2})")


def person(name: str) -> str:
    """Return the part of a name that tells people apart: alice and Alice@lab are one."""
    return name.partition("@")[0].casefold()


def same_person(one: str, other: str) -> bool:
    """Tell whether two names may mean one person: alice and alice@lab do. In doubt they are the same."""
    return person(one) == person(other)


def holders(allowed_signers: str, key: str) -> List[str]:
    """Return whose key it is by every line of the allowed signers: ssh-keygen tells the first line alone."""
    found: List[str] = []
    for line in allowed_signers.splitlines():
        blob = _BLOB.search(line)
        if line.startswith("#") or blob is None:
            continue
        try:
            digest = hashlib.sha256(base64.b64decode(blob[1])).digest()
        except ValueError:
            continue
        if "SHA256:" + base64.b64encode(digest).decode().rstrip("=") == key:
            found += [name for name in line.split()[0].strip('"').split(",") if name]
    return found
