# SPDX-License-Identifier: Apache-2.0
"""Read the armor of an SSH signature (PROTOCOL.sshsig of OpenSSH) in the one form in which ssh-keygen writes it."""

import base64
import hashlib
from dataclasses import dataclass

__all__ = ["Signature", "read_signature"]

_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_COLUMNS = 70


@dataclass(frozen=True)
class Signature:
    """What a signature says of itself; whether it is one is for ssh-keygen to say."""

    namespace: str
    # As `ssh-keygen -l` shows it: what an engagement letter names.
    fingerprint: str


def read_signature(source: bytes) -> Signature:
    """Read a signature; ValueError, with the end of a sentence, where a byte of it could be another one as well."""
    try:
        text = source.decode("ascii")
    except UnicodeDecodeError as error:
        raise ValueError("holds bytes that no signature has") from error
    if not text.startswith(f"{_BEGIN}\n") or not text.endswith(f"\n{_END}\n"):
        raise ValueError("does not begin and end as ssh-keygen writes it")
    try:
        blob = base64.b64decode(text[len(_BEGIN) + 1 : -len(_END) - 2].replace("\n", ""), validate=True)
    except ValueError as error:
        raise ValueError("is not base64") from error
    if armor(blob) != source:
        raise ValueError("is not written in the one form that ssh-keygen gives it")
    return _parsed(blob)


def armor(blob: bytes) -> bytes:
    """Write a signature as ssh-keygen does."""
    digits = base64.b64encode(blob).decode()
    lines = [digits[place : place + _COLUMNS] for place in range(0, len(digits), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""]).encode()


def _parsed(blob: bytes) -> Signature:
    """Take the parts of the blob; nothing may stand behind them."""
    if not blob.startswith(_MAGIC) or blob[len(_MAGIC) : len(_MAGIC) + 4] != b"\0\0\0\1":
        raise ValueError("is of a version that is not known")
    parts, rest = [], blob[len(_MAGIC) + 4 :]
    while rest:
        size = int.from_bytes(rest[:4])
        if len(rest) < 4 + size:
            raise ValueError("is cut")
        parts.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    try:
        key, namespace, reserved, algorithm, _ = parts
    except ValueError as error:
        raise ValueError("has parts that no signature has") from error
    if reserved or algorithm not in (b"sha512", b"sha256"):
        raise ValueError("has parts that no signature has")
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return Signature(namespace.decode(errors="replace"), f"SHA256:{digest}")
