# SPDX-License-Identifier: Apache-2.0
"""The plan of a drill, in YAML that people write, review and approve."""

import datetime as dt
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = [
    "IN_WORDS",
    "Approvals",
    "Blackout",
    "Day",
    "Experiment",
    "Hosts",
    "Notify",
    "Plan",
    "Schedule",
    "Timing",
    "Window",
]

_TEXT = r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$"
_NAME = r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?$"
_CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
_SHA256 = r"^[0-9a-f]{64}$"
_IDENTITY = r"^[A-Za-z0-9._+@-]{1,120}$"
_FAULT = r"^[a-z0-9_.]{1,80}$"
_CHANGE = r"^[A-Za-z0-9][A-Za-z0-9._/#:-]{0,59}$"
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
# What people are told instead of a pattern.
IN_WORDS = {
    _TEXT: "must be one line of text",
    _NAME: "must be a name of small letters, digits and '-'",
    _HOST: "must be the name of one host of the inventory, and no pattern",
    _CLOCK: "must be a time of 24 hours, such as 09:30",
    _SHA256: "must be a digest as sha256sum prints it",
    _IDENTITY: "must be a name of the allowed signers, such as alice@lab",
    _FAULT: "must be the name of a fault, such as gpu.memory.leak",
    _CHANGE: "must be a change's name without spaces, such as CHG-1042",
    _VARIABLE: "must be a name of letters, digits and '_'",
}

type Text = Annotated[str, Field(min_length=1, max_length=400, pattern=_TEXT)]
type Name = Annotated[str, Field(pattern=_NAME)]
type HostName = Annotated[str, Field(pattern=_HOST)]
type Clock = Annotated[str, Field(pattern=_CLOCK)]
type Sha256 = Annotated[str, Field(pattern=_SHA256)]
type Identity = Annotated[str, Field(pattern=_IDENTITY)]
type FaultName = Annotated[str, Field(pattern=_FAULT)]
type ChangeId = Annotated[str, Field(pattern=_CHANGE)]
type Variable = Annotated[str, Field(pattern=_VARIABLE)]
type Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
type Moment = Literal["started", "finished", "aborted", "residue", "refused", "drill-skipped"]

_EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONGEST_SPAN_DAYS = 800


class _Strict(BaseModel):
    # A refused value may be a secret that was put in the wrong place: it is not repeated by pydantic.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Hosts(_Strict):
    """Which hosts may be touched: each by its name, so that a changed inventory cannot widen what was approved."""

    names: list[HostName] = Field(min_length=1, max_length=1000)
    # Files or folders, from the plan's own folder; none where the one host is this one.
    inventory: list[Text] = []
    blast_radius: int = Field(default=1, ge=1, strict=True)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(set(self.names)) < len(self.names):
            raise ValueError("names has a host twice")
        if self.blast_radius > len(self.names):
            raise ValueError(f"blast_radius is {self.blast_radius}, and names has {len(self.names)}")
        if not self.inventory and self.names != ["localhost"]:
            raise ValueError("without an inventory only the host localhost can be reached: name the inventory")
        if self.inventory and {"localhost", "local"} & {*self.names}:
            raise ValueError("localhost is this controller itself, and no name for a host of an inventory")
        return self


class Experiment(_Strict):
    """One experiment, as the approver has read it."""

    # From the plan's own folder.
    file: Text
    sha256: Sha256
    # After this it is stopped in order; the undo has `undo_minutes` more.
    deadline_minutes: float = Field(gt=0, le=24 * 60)
    undo_minutes: float = Field(default=5, gt=0, le=24 * 60)
    # Keys that the experiment's configuration declares.
    set: dict[Variable, JsonValue] = {}

    @field_validator("file")
    @classmethod
    def _stays_below(cls, value: str) -> str:
        if PurePosixPath(value).suffix not in {".json", ".yaml", ".yml"}:
            raise ValueError("an experiment is a file that ends in .json, .yaml or .yml")
        return value


class Blackout(_Strict):
    """A time in which nothing is opened: whole days, or from one local time to another."""

    start: dt.date | dt.datetime = Field(alias="from")
    end: dt.date | dt.datetime = Field(alias="to")
    why: Text

    @field_validator("start", "end", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        """Take a date or a local time, and no other way to write one."""
        if not isinstance(value, str):
            raise ValueError("must be a date such as 2026-12-21 or a local time such as 2026-12-21T18:00")  # noqa: TRY004 (pydantic's way to say it)
        try:
            read = dt.datetime.fromisoformat(value) if "T" in value else dt.date.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"must be a date or a local time: {error}") from error
        if isinstance(read, dt.datetime) and read.tzinfo is not None:
            raise ValueError("must be without an offset: the window's time zone counts")
        return read

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends_before <= self.begins:
            raise ValueError("ends before it begins")
        return self

    @property
    def begins(self) -> dt.datetime:
        """The first moment of it, in local time."""
        return self.start if isinstance(self.start, dt.datetime) else dt.datetime.combine(self.start, dt.time())

    @property
    def ends_before(self) -> dt.datetime:
        """The first moment after it, in local time."""
        if isinstance(self.end, dt.datetime):
            return self.end
        return dt.datetime.combine(self.end, dt.time()) + dt.timedelta(days=1)


class Window(_Strict):
    """When the drill may run: on these days, between these local times; over midnight where it closes earlier."""

    time_zone: Text
    first: dt.date
    last: dt.date
    days: list[Day] = Field(default=[*_EVERY_DAY], min_length=1)
    opens: Clock
    closes: Clock
    blackouts: list[Blackout] = []

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last is {self.last}, before first, {self.first}: it never opens")
        if (self.last - self.first).days > _LONGEST_SPAN_DAYS:
            raise ValueError(f"from first to last are more than {_LONGEST_SPAN_DAYS} days: plan it anew in between")
        if self.opens == self.closes:
            raise ValueError(f"opens and closes are both {self.opens}: it never opens")
        return self


class Schedule(_Strict):
    """When it starts by itself, within the window."""

    at: Clock
    # Without them: the window's.
    days: list[Day] | None = Field(default=None, min_length=1)


class Notify(_Strict):
    """Who is told. The address is a secret more often than not, so the plan names where it stands and not itself."""

    url_from_env: Variable
    on: list[Moment] = ["started", "finished", "aborted", "residue", "refused", "drill-skipped"]
    within_s: float = Field(default=5, gt=0, le=60)


class Timing(_Strict):
    """When a drill may run and when it starts by itself: what the log keeps of a schedule."""

    window: Window
    schedule: Schedule | None = None
    longest_s: float = Field(gt=0)
    # Who is told of a start that was missed, though the plan may be gone by then.
    notify: Notify | None = None

    def as_json(self) -> JsonObject:
        """Return it as it is read again."""
        return self.model_dump(mode="json", by_alias=True)


class Approvals(_Strict):
    """How many people other than the operator must have signed, and how long their signatures count."""

    needed: int = Field(default=1, ge=0, le=10, strict=True)
    valid_until: dt.date


class Plan(_Strict):
    """What will be broken, where, when, by whom, and what ends it."""

    drill: Name
    title: Text
    # What the drill is about: a service or a cluster. The gate between levels counts within it.
    scope: Name
    level: int = Field(ge=1, le=4, strict=True)
    # Who answers for it: a name of the allowed signers.
    operator: Identity
    change_id: ChangeId | None = None
    hosts: Hosts
    # What may be put in, and for how long at most: hosts that demand an approval go by this.
    faults: list[FaultName] = Field(min_length=1)
    longest_fault_s: int = Field(gt=0, le=7 * 86400, strict=True)
    experiments: list[Experiment] = Field(min_length=1, max_length=100)
    go_on_after_deviation: bool = False
    window: Window
    schedule: Schedule | None = None
    approvals: Approvals
    stop_when: Text | None = None
    notify: Notify | None = None

    @property
    def timing(self) -> Timing:
        """Its window, its schedule, and how long it lasts."""
        return Timing(window=self.window, schedule=self.schedule, longest_s=self.longest_s, notify=self.notify)

    @property
    def longest_s(self) -> float:
        """How long the drill lasts at most, with the undo of each experiment."""
        return sum((one.deadline_minutes + one.undo_minutes) * 60 for one in self.experiments)
