# SPDX-License-Identifier: Apache-2.0
"""What is signed when a drill is approved: one line of JSON that says all that a host must know to judge it."""

import json
import re
from dataclasses import dataclass, fields
from typing import Optional, Tuple

from chaosgpu.agent import typed, values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.values import JsonMapping

__all__ = ["NAMESPACE", "SAYS", "VERSION", "Statement", "read", "write"]

NAMESPACE = "chaosgpu-approval-v1"
SAYS = "I approve this drill"
VERSION = 1
# RFC 3339 in UTC with milliseconds, in which two moments compare as texts do.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True)
class Statement:
    """One approved drill: these faults, on these hosts, for so long at most, between these moments."""

    plan_sha256: str
    drill: str
    title: str
    operator: str
    hosts: Tuple[str, ...]
    blast_radius: int
    faults: Tuple[str, ...]
    # With the margin in which the controller's own undo comes first.
    longest_fault_s: float
    not_before: str
    not_after: str
    change_id: Optional[str] = None


_KEYS = frozenset({"statement", "version"} | {one.name for one in fields(Statement)})


def write(said: JsonMapping) -> bytes:
    """Return it as it is signed: in one form only."""
    whole = {"statement": SAYS, "version": VERSION, **said}
    return (json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True) + "\n").encode()


def read(raw: bytes) -> Statement:
    """Read one; BadRequest where it is none that this agent knows, also where it says more than is known here."""
    try:
        said = json.loads(raw)
    except ValueError as error:
        raise BadRequest(f"The approved statement is not JSON: {error}.") from error
    if not isinstance(said, dict) or said.get("statement") != SAYS or said.get("version") != VERSION:
        raise BadRequest(
            f"The approved statement is not of version {VERSION}: have the plan approved with the release of chaosgpu "
            "that runs it, and install the same one on this host."
        )
    values.only(said, "the approved statement", _KEYS)
    found = typed.read(Statement, said)
    if not _MOMENT.fullmatch(found.not_before) or not _MOMENT.fullmatch(found.not_after):
        raise BadRequest("The approved statement does not say from when to when it counts.")
    return found
