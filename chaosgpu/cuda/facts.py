# SPDX-License-Identifier: Apache-2.0
"""The fact document of a host, asked of its agent in one call, or read from a file that was kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument, ChaosGpuError
from chaosgpu.fleet.ask import ask_everyone
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.targets import check_pattern
from chaosgpu.fleet.values import JsonObject, JsonValue, whole_object

__all__ = ["Facts", "LookAt", "read_facts", "take_everyones_facts", "take_facts", "write_facts"]

_READING = "fleet.facts"


@dataclass(frozen=True)
class LookAt:
    """What a host cannot know by itself that it should look at; `sections` alone for a cheap question."""

    services: Sequence[str] = ()
    environments: Mapping[str, str] = field(default_factory=dict)
    engines: Sequence[str] = ()
    triton: str | None = None
    sections: Sequence[str] = ()

    def params(self) -> JsonObject:
        """Return the parameters of the reading."""
        named: dict[str, JsonValue] = {
            "services": [*self.services],
            "environments": dict(self.environments),
            "engines": [*self.engines],
            "triton": self.triton,
            "sections": [*self.sections],
        }
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True)
class Facts:
    """What one host is made of, section by section, and why the rest is unknown."""

    host: str
    values: JsonObject
    unknown: Mapping[str, str]

    def section(self, name: str) -> JsonObject:
        """Return one section; an empty one where it was not asked for or is unknown."""
        return whole_object(self.values, name)

    def text(self, section: str, name: str) -> str | None:
        """Return a text, or None where it is unknown."""
        found = self.section(section).get(name)
        return found if isinstance(found, str) else None

    def why(self, section: str, name: str) -> str:
        """Return why a value is unknown."""
        return self.unknown.get(f"{section}.{name}") or self.unknown.get(section) or "the host did not tell it"


def take_facts(hosts: Sequence[str], look_at: LookAt, timeout_s: float) -> dict[str, Facts | ChaosGpuError]:
    """Ask every host at once; of one that gives no answer, or cannot be reached from here, there is the error."""
    refused = {host: error for host in hosts if (error := _why_not(host)) is not None}
    named = [host for host in hosts if host not in refused]
    answers = ask_everywhere(named, "read", {"reading": _READING, "params": look_at.params()}, timeout_s)
    return _taken({**refused, **answers})


def take_everyones_facts(look_at: LookAt, timeout_s: float) -> dict[str, Facts | ChaosGpuError]:
    """Do the same on every host of the inventory within its limit."""
    return _taken(ask_everyone("read", {"reading": _READING, "params": look_at.params()}, timeout_s))


def _taken(found: Mapping[str, JsonObject | ChaosGpuError]) -> dict[str, Facts | ChaosGpuError]:
    return {host: one if isinstance(one, ChaosGpuError) else _facts(host, one) for host, one in found.items()}


def _why_not(host: str) -> BadArgument | None:
    """Say why a host cannot be asked: without an inventory this host alone can, and no other name may mean it."""
    try:
        check_pattern(host)
    except BadArgument as error:
        return error
    return None


def _facts(host: str, answer: JsonObject) -> Facts:
    unknown = whole_object(answer, "unknown")
    return Facts(host, whole_object(answer, "values"), {name: str(why) for name, why in unknown.items()})


def write_facts(path: Path, facts: Sequence[Facts]) -> None:
    """Keep documents in a file, to be compared later."""
    kept = {one.host: {"values": one.values, "unknown": dict(one.unknown)} for one in facts}
    try:
        path.write_text(json.dumps({"facts": kept}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadArgument(f"The facts could not be written to {path}: {error.strerror}.") from error


def read_facts(path: Path) -> dict[str, Facts]:
    """Read kept documents; BadArgument where the file holds none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["facts"]
        return {host: _facts(host, answer) for host, answer in kept.items()}
    except OSError as error:
        raise BadArgument(f"The facts in {path} could not be read: {error.strerror}.") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadArgument(
            f"{path} holds no facts of `chaosgpu drift scan --keep`, which are JSON with the key `facts`."
        ) from error
