# SPDX-License-Identifier: Apache-2.0
"""What one reading is, and the table of all of them by name."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Dict, FrozenSet, Optional, Protocol

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, DriverFailed
from chaosgpu.agent.faults.contract import Driver
from chaosgpu.agent.systemd import Systemd, no_systemd
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

if TYPE_CHECKING:
    from chaosgpu.agent.residue.scene import Scene

__all__ = ["GPU_KEYS", "Answer", "Clock", "Tools", "ask", "ask_object", "gpu_uuid", "reading", "readings", "take"]

GPU_KEYS = frozenset({"gpu", "allow_index"})


class Clock(Protocol):
    """What a reading over a window needs of time."""

    def boottime_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True)
class Tools:
    """What a reading may use. `kernel_log` and `pci_devices` are the kernel's own unless a test names others."""

    driver: Driver
    clock: Clock
    kernel_log: str = "/dev/kmsg"
    proc: str = "/proc"
    pci_devices: str = "/sys/bus/pci/devices"
    find_systemd: Callable[[], Optional[Systemd]] = no_systemd
    scene: Optional["Scene"] = None  # the whole host, for the one reading that looks for residue


@dataclass(frozen=True)
class Answer:
    """What could be read, and for everything else why it is unknown."""

    values: JsonObject = field(default_factory=dict)
    unknown: JsonObject = field(default_factory=dict)

    def note(self, name: str, value: JsonValue, why: str) -> None:
        """Keep a derived value, or why it cannot be derived."""
        if value is None:
            self.unknown[name] = why
        else:
            self.values[name] = value

    def number(self, name: str) -> Optional[float]:
        """Return a value if it is known and a number."""
        value = self.values.get(name)
        return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value

    def why(self, name: str) -> str:
        """Return why a value is unknown."""
        return str(self.unknown.get(name, "it was not read"))


Read = Callable[[JsonMapping, Tools], Answer]


@dataclass(frozen=True)
class Reading:
    """One reading: its name, the parameters that it takes, and how it is taken."""

    name: str
    keys: FrozenSet[str]
    read: Read


_readings: Dict[str, Reading] = {}


def reading(name: str, keys: FrozenSet[str] = GPU_KEYS) -> Callable[[Read], Read]:
    """Enter a function into the table."""

    def enter(read: Read) -> Read:
        _readings[name] = Reading(name, keys, read)
        return read

    return enter


def readings() -> Dict[str, Reading]:
    """Return every reading by name."""
    from chaosgpu.agent.readings import (  # noqa: F401, PLC0415 (they enter themselves; a cycle at the top)
        fleet_facts,
        gpus,
        health,
        links,
        load,
        processes,
        residue,
        temperature,
        units,
        xid,
    )

    return dict(sorted(_readings.items()))


def gpu_uuid(params: JsonMapping, tools: Tools) -> str:
    """Return the UUID of the GPU that the request names; BadRequest where there is none or an index is not allowed."""
    named = params.get("gpu")
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    name = values.text({"gpu": named}, "gpu")
    found = tools.driver.call("find_gpu", name, values.flag(params, "allow_index", default=False))
    if not isinstance(found, dict):
        raise DriverFailed(f"The driver named no GPU for {name}, but {found!r}.")
    return values.text(found, "uuid")


def ask(tools: Tools, call: str, *arguments: JsonValue) -> Answer:
    """Make one of the driver calls that return values and unknowns."""
    found = ask_object(tools, call, *arguments)
    return Answer(dict(values.mapping(found, "values")), dict(values.mapping(found, "unknown")))


def ask_object(tools: Tools, call: str, *arguments: JsonValue) -> JsonObject:
    """Make a driver call that returns an object."""
    found = tools.driver.call(call, *arguments)
    if not isinstance(found, dict):
        raise DriverFailed(f"The driver call {call} returned {found!r}, not an object.")
    return found


def take(name: str, params: JsonMapping, tools: Tools) -> Answer:
    """Take the reading of that name; an unknown name or parameter is the caller's mistake."""
    if name == "fleet.facts":
        from chaosgpu.agent.readings import fleet_facts  # noqa: F401, PLC0415 (asked of whole fleets: it loads no other)
    known = _readings if name in _readings else readings()
    if name not in known:
        raise BadRequest(f"There is no reading named {name}; there are: {', '.join(known)}.")
    values.only(params, name, known[name].keys)
    return known[name].read(params, tools)
