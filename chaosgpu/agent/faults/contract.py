# SPDX-License-Identifier: Apache-2.0
"""The contract of one fault. The lease machine calls it in this order and in no other.

parse, check, (claim), capture, (undo record on disk), (holder started and gated, deadline armed), inject, verify;
later, any number of times and from any process: undo, restored. Everything that a later process needs is JSON.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Callable, ClassVar, Generic, Optional, Protocol, Tuple, TypeVar

from chaosgpu.agent.systemd import Systemd, no_systemd
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["Context", "Driver", "Fault", "Held", "HolderPlan", "Restored"]

Params = TypeVar("Params")


class Driver(Protocol):
    """The NVIDIA driver behind a child process with a deadline: a call that hangs raises DriverHung."""

    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        """Run the function of that name in `agent/nvml_calls.py` in the child and return its answer."""


class Clock(Protocol):
    """Time as the host sees it; passed in, so that tests are exact."""

    def boottime_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME: counts through suspend, starts again at boot."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True)
class Context:
    """What a fault may use: the driver, the clock, and the folder of its own lease (None before there is one).

    `limited_to_home`: if set, only processes with `process.started_under(pid, home)` may be touched, else Forbidden.
    `protected_units`: systemd units that the host's policy protects; a fault that reaches one raises Forbidden.
    `find_systemd` returns systemd where it is this host's PID 1, else None.
    """

    driver: Driver
    clock: Clock
    lease_dir: Optional[str] = None
    limited_to_home: Optional[str] = None
    protected_units: Tuple[str, ...] = ()
    find_systemd: Callable[[], Optional[Systemd]] = no_systemd


@dataclass(frozen=True)
class HolderPlan:
    """A process that holds a resource: `role` names the function in `agent/holders.py`, `request` is its JSON."""

    role: str
    request: JsonObject


@dataclass(frozen=True)
class Held:
    """A holder that runs or ran: its identity (`start_time` is field 22 of /proc/PID/stat) and its last report."""

    pid: int
    start_time: int
    alive: bool
    report: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """How an undo ended: `clean` only if what the fault touched was read back and is as captured.

    `left_alone` names what a person changed meanwhile: it was not overwritten, and is reported.
    `by_hand` says what to do if it is not clean.
    """

    clean: bool
    values: JsonObject
    left_alone: Tuple[str, ...] = ()
    by_hand: str = ""


class Fault(ABC, Generic[Params]):
    """One way to break one thing."""

    name: ClassVar[str]  # such as "gpu.power.cap"
    summary: ClassVar[str]  # one sentence for the documentation row
    plane: ClassVar[str]  # "signal", "state" or "effect"
    tier: ClassVar[str]  # "T1" one process, "T2" one GPU live
    fidelity: ClassVar[str]  # "exact", "default" or "restart"
    privilege: ClassVar[str]  # "root" or "user"
    claimed: ClassVar[str]  # what it claims, for the documentation row
    refuses: ClassVar[str]  # which products and states it refuses, for the documentation row
    traps: ClassVar[str]  # what surprises people, for the documentation row
    deadline_class: ClassVar[str] = "fast"

    @abstractmethod
    def parse(self, raw: JsonMapping) -> Params:
        """Check the values alone and return them typed; raise BadRequest with a sentence. Touches nothing."""

    @abstractmethod
    def check(self, params: Params, context: Context) -> None:
        """Check that the host can take it; raise Refused, NoEffect or DriverFailed. Touches nothing."""

    @abstractmethod
    def claims(self, params: Params, context: Context) -> Tuple[str, ...]:
        """Name each resource it changes, such as "gpu:GPU-5c…:power_limit"."""

    @abstractmethod
    def capture(self, params: Params, context: Context) -> JsonObject:
        """Read the prior state that `undo` needs. It is written to disk before anything is changed."""

    def holder(self, params: Params, prior: JsonMapping) -> Optional[HolderPlan]:  # noqa: ARG002 (for overriding)
        """Return the process that holds the resource, where there is one: ending it is the undo."""
        return None

    def inject(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Change the setting. A fault with a holder has nothing to do here: the gate is opened right after."""

    @abstractmethod
    def verify(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:
        """Read back what only we could have caused and return it; raise Unverified with a sentence."""

    def undo(self, params: Params, prior: JsonMapping, context: Context) -> None:
        """Put back what `capture` read. Idempotent; compare first: a person's later change is left alone."""

    @abstractmethod
    def restored(self, params: Params, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:
        """Read back and compare with what was captured. A holder has been ended before this is called."""
