# SPDX-License-Identifier: Apache-2.0
"""One line of the site's evidence log: its types, their fields in their order, and its one way of being written."""

import json
import re
from collections.abc import Mapping

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonMapping, JsonObject, JsonValue
from chaosgpu.lease.chain import parse

__all__ = ["COMMON", "ENDS", "FIELDS", "REPAIRED", "SIGNER", "checked", "encode", "in_order", "lacks", "read_canonical"]

# Each line has these first, in this order, so that awk finds them by their place.
COMMON = ("seq", "prev", "at", "type", "drill", "attempt")
# What each type has behind them, in this order; whatever else is said follows by name.
_LEDGER = ("run", "verdict", "ledger_lines", "ledger_sha256")
REPAIRED = "log-repaired"
FIELDS: Mapping[str, tuple[str, ...]] = {
    "planned": ("plan_sha256",),
    "approved": ("plan_sha256", "by", "signature_sha256"),
    "started": ("plan_sha256",),
    "finished": (*_LEDGER, "reason"),
    "aborted": (*_LEDGER, "reason"),
    "residue": ("host", "what"),
    "drill-skipped": ("due", "reason"),
    "anchored": ("size", "head", "where"),
    REPAIRED: ("kept_as", "bytes", "sha256"),
}
ENDS = frozenset({"finished", "aborted"})
# These belong to one attempt; the others to a drill, or to the log itself.
_OF_ATTEMPT = frozenset({"started", "finished", "aborted", "residue"})
_OF_LOG = frozenset({"anchored", REPAIRED})
_NUMBERS = frozenset({"ledger_lines", "size", "bytes"})
_DIGESTS = frozenset({"plan_sha256", "signature_sha256", "ledger_sha256", "head", "sha256"})
# Of names: they become parts of paths, and awk must be able to cut them out.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_NAMES = frozenset({"drill", "attempt", "run"})
# Of whom a signature is: as in a file of allowed signers, and no more than one word.
SIGNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,119}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def encode(entry: JsonMapping) -> bytes:
    """Write an entry in its one form, without a newline."""
    return json.dumps(dict(entry), ensure_ascii=False, allow_nan=False).encode()


def in_order(entry_type: str, fields: JsonMapping) -> JsonObject:
    """Put the fields of a type into their order: first its own, then what else is said, by name."""
    own = FIELDS[entry_type]
    return {name: fields[name] for name in (*own, *sorted(fields.keys() - set(own)))}


def lacks(entry_type: str, drill: str, attempt: str, fields: JsonMapping) -> str | None:
    """Say what is wrong with an entry, before it is written or after it was read; None if nothing is."""
    if entry_type not in FIELDS:
        return f"{entry_type!r} is no type of entry; there are {', '.join(FIELDS)}"
    for name, due in (("drill", entry_type not in _OF_LOG), ("attempt", entry_type in _OF_ATTEMPT)):
        value = drill if name == "drill" else attempt
        if due and not _NAME.fullmatch(value):
            return f"{entry_type} needs a {name} of letters, digits, '.', '_' and '-', not {value!r}"
        if not due and value and not _NAME.fullmatch(value):
            return f"{value!r} is no name of a {name}"
    for name in FIELDS[entry_type]:
        if name not in fields:
            return f"{entry_type} needs {name}"
        wrong = _wrong(name, fields[name])
        if wrong:
            return f"the {name} of {entry_type} {wrong}, not {fields[name]!r}"
    clash = fields.keys() & set(COMMON)
    return f"an entry may not set {', '.join(sorted(clash))}" if clash else None


def _wrong(name: str, value: JsonValue) -> str | None:
    """Say what a fixed field must be, if it is not."""
    if name in _NUMBERS:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        return None if fits else "must be a whole number"
    if not isinstance(value, str):
        return "must be text"
    # An attempt that left no run has neither its name nor a ledger.
    if name in _DIGESTS and not _DIGEST.fullmatch(value) and not (name == "ledger_sha256" and not value):
        return "must be a SHA-256 in hexadecimal digits"
    if name == "by" and not SIGNER.fullmatch(value):
        return "must be a name of one word, such as anna@lab"
    if name in _NAMES and value and not _NAME.fullmatch(value):
        return "must be a plain name"
    return None


def read_canonical(line: bytes) -> JsonObject | str:
    """Read one line; a sentence's end says why it is none: there is no second way to write the same entry."""
    entry = parse(line)
    if entry is None:
        return "is not a JSON object"
    try:
        if encode(entry) != line:
            return "is not written in the one form that entries have: it was changed by hand"
    except ValueError:
        return "holds a number that JSON does not have"
    if tuple(entry)[: len(COMMON)] != COMMON:
        return f"does not begin with {', '.join(COMMON)}"
    said = {name: entry[name] for name in tuple(entry)[len(COMMON) :]}
    texts = [entry[name] for name in ("type", "drill", "attempt")]
    if not all(isinstance(text, str) for text in texts):
        return "has a type, drill or attempt that is no text"
    kind, drill, attempt = (str(text) for text in texts)
    wrong = lacks(kind, drill, attempt, said)
    if wrong is None and tuple(in_order(kind, said)) != tuple(said):
        wrong = "has its fields in another order"
    return entry if wrong is None else f"does not hold: {wrong}"


def checked(entry_type: str, drill: str, attempt: str, fields: JsonObject) -> JsonObject:
    """Return the fields in their order, or raise BadArgument."""
    wrong = lacks(entry_type, drill, attempt, fields)
    if wrong:
        raise BadArgument(f"Nothing was written to the evidence log: {wrong}.")
    return in_order(entry_type, fields)
