# SPDX-License-Identifier: Apache-2.0
"""What a verb of the service room is asked for, checked by value alone."""

import re
from dataclasses import asdict, dataclass
from typing import Optional, Tuple

from chaosgpu.agent import typed, values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Order", "Wanted", "parse_order", "plain"]

WITHIN_S = 120.0
_LONGEST_S = 3600.0
_DRILL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|socket|timer|path)")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MOST_TEXT = 300
_MOST_NAMED = 100
_WANTED = frozenset({"units", "containers", "slurm", "hook", "allow_processes"})
_ALWAYS = frozenset({"protocol", "operator", "drill", "reason", "by", "within_s", "check"})
# Which of them a verb has no use without.
_NEEDS = {
    "drain": ("drill", "reason"),
    "return": ("drill",),
    "quarantine": ("drill", "reason"),
    "release": ("by", "reason"),
}


@dataclass(frozen=True)
class Wanted:
    """What is to be taken out of service; an empty one marks the host and touches nothing."""

    units: Tuple[str, ...] = ()
    containers: Tuple[str, ...] = ()
    slurm: bool = False
    node: Optional[str] = None  # of Slurm; None: the one of this host's name
    hook: Tuple[str, ...] = ()
    allow_processes: Tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """Return it for the record."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, source: JsonMapping) -> "Wanted":
        """Read it back."""
        return typed.read(cls, source)


@dataclass(frozen=True)
class Order:
    """One request. `check`: say what would change and touch nothing."""

    drill: str
    reason: str
    by: str
    within_s: float
    check: bool
    wanted: Wanted
    differences: Tuple[str, ...] = ()


def parse_order(verb: str, request: JsonMapping, operator: str) -> Order:
    """Read a request; who asks is the operator where `by` does not say it."""
    allowed = _ALWAYS
    if verb in ("drain", "quarantine"):
        allowed = allowed | _WANTED
    if verb == "quarantine":
        allowed = allowed | {"differences"}
    values.only(request, verb, allowed)
    for key in _NEEDS.get(verb, ()):
        values.text(request, key)
    drill = values.optional_text(request, "drill") or ""
    if drill and not _DRILL.fullmatch(drill):
        raise BadRequest(f"drill has up to 64 letters, digits, '.', '_' and '-', not {drill!r}.")
    return Order(
        drill=drill,
        reason=plain(values.optional_text(request, "reason") or ""),
        by=plain(values.optional_text(request, "by") or operator),
        within_s=values.number(request, "within_s", 1.0, _LONGEST_S) if "within_s" in request else WITHIN_S,
        check=values.flag(request, "check", default=False),
        wanted=_wanted(request),
        differences=tuple(map(plain, _texts(request, "differences"))),
    )


def plain(text: str) -> str:
    """Return it as one line of printable ASCII: it is shown at a login, and handed to Slurm as a word."""
    shown = "".join(letter if letter.isascii() and letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())[:_MOST_TEXT]


def _wanted(request: JsonMapping) -> Wanted:
    slurm = request.get("slurm")
    node: Optional[str] = None
    if slurm is not None:
        source = values.mapping(request, "slurm")
        values.only(source, "slurm", frozenset({"node"}))
        node = values.optional_text(source, "node")
        if node is not None and not _NODE.fullmatch(node):
            raise BadRequest(f"slurm.node must be the name of one node, not {node!r}.")
    hook = _texts(request, "hook")
    if hook and not hook[0].startswith("/"):
        raise BadRequest(f"hook must begin with an absolute path, not {hook[0]!r}.")
    return Wanted(
        units=tuple(_unit(name) for name in _texts(request, "units")),
        containers=_names(request, "containers", _CONTAINER, "the name of a container"),
        slurm=slurm is not None,
        node=node,
        hook=hook,
        allow_processes=_texts(request, "allow_processes"),
    )


def _unit(name: str) -> str:
    """Return the whole name of a unit: a service where it does not say."""
    whole = name if name.endswith((".service", ".socket", ".timer", ".path")) else f"{name}.service"
    if not _UNIT.fullmatch(whole) or whole.partition("@")[2].startswith("."):
        raise BadRequest(f"units must name services, sockets, timers or paths, such as triton.service, not {name!r}.")
    return whole


def _names(request: JsonMapping, key: str, form: "re.Pattern[str]", what: str) -> Tuple[str, ...]:
    found = _texts(request, key)
    for name in found:
        if not form.fullmatch(name):
            raise BadRequest(f"{key} must be a list, each {what}, and {name!r} is none.")
    return found


def _texts(request: JsonMapping, key: str) -> Tuple[str, ...]:
    found = request.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise BadRequest(f"{key} must be a list of texts that are not empty, not {found!r}.")
    if len(found) > _MOST_NAMED:
        raise BadRequest(f"{key} has {len(found)} entries; {_MOST_NAMED} are the most.")
    return tuple(dict.fromkeys(map(str, found))) if key != "hook" else tuple(map(str, found))
