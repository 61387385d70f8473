# SPDX-License-Identifier: Apache-2.0
"""SHA256SUMS: what is signed, in the form that `sha256sum -c` checks, and in no other."""

import hashlib
import re
from collections.abc import Mapping

from chaosgpu.evidence.names import is_plain, shown

__all__ = ["NAMESPACE", "SIGNATURE", "SUMS", "check_sums", "write_sums"]

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
NAMESPACE = "chaosgpu-evidence-v1"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_sums(files: Mapping[str, bytes]) -> bytes:
    """Return the digests of these files, one a line, by name."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode()


def check_sums(files: Mapping[str, bytes]) -> list[str]:
    """Check that SHA256SUMS names each file once, in order, with its digest, and none that is not there."""
    if SUMS not in files:
        return [f"There is no {SUMS}: this is no bundle, or its list was taken out."]
    try:
        *lines, rest = files[SUMS].decode("ascii").split("\n")
    except UnicodeDecodeError:
        return [f"{SUMS} holds bytes that no list of digests has."]
    if rest:
        return [f"The last line of {SUMS} has no end: it was cut."]
    found = [_LINE.fullmatch(line) for line in lines]
    listed = {match[2]: match[1] for match in found if match is not None}
    problems = [
        f"Line {number} of {SUMS} is no digest and plain name."
        for number, match in enumerate(found, start=1)
        if match is None or not is_plain(match[2])
    ]
    names = [match[2] for match in found if match is not None]
    if names != sorted(set(names)):
        problems.append(f"The names in {SUMS} are not in order, or one is there twice.")
    others = files.keys() - {SUMS, SIGNATURE}
    problems += [f"{shown(name)} is not in {SUMS}: it was put in." for name in sorted(others - listed.keys())]
    problems += [f"{shown(name)} is gone: {SUMS} names it." for name in sorted(listed.keys() - others)]
    problems += [
        f"{shown(name)} was changed: it does not have the digest that {SUMS} names."
        for name in sorted(others & listed.keys())
        if hashlib.sha256(files[name]).hexdigest() != listed[name]
    ]
    return problems
