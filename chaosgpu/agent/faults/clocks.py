# SPDX-License-Identifier: Apache-2.0
"""What is known of locked clocks. No driver tells what they are locked to: only what the clock does, and why."""

from dataclasses import dataclass
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_gpu import answer_object, whole_answer
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["SET_BY_USER", "Band", "Clocks", "clocks", "parse_prior_lock", "refuse_foreign_lock"]

STEP_MHZ = 15  # what is asked for is rounded to the next step that the product has
SET_BY_USER = 0x2  # nvmlClocksEventReasonUserDefinedClocks
BUSY_PERCENT = 50
NEAR_TOP = 0.9  # a busy GPU with no reason to be slower runs within a tenth of its highest clock


@dataclass(frozen=True)
class Band:
    """A range to lock to, in MHz."""

    min_mhz: int
    max_mhz: int

    def holds(self, mhz: int) -> bool:
        """Tell whether a clock is inside, within one step."""
        return self.min_mhz - STEP_MHZ <= mhz <= self.max_mhz + STEP_MHZ

    def to_json(self) -> JsonObject:
        """Return it for the record."""
        return {"min_mhz": self.min_mhz, "max_mhz": self.max_mhz}

    @classmethod
    def from_json(cls, source: JsonMapping, what: str) -> "Band":
        """Read min_mhz and max_mhz."""
        low, high = values.whole(source, "min_mhz", 1, 10_000), values.whole(source, "max_mhz", 1, 10_000)
        if low > high:
            raise BadRequest(f"{what}: min_mhz {low} is over max_mhz {high}.")
        return cls(low, high)


@dataclass(frozen=True)
class Clocks:
    """One reading."""

    sm_mhz: int
    max_sm_mhz: int
    architecture: Optional[int]
    reasons: Optional[int]
    utilization_percent: Optional[int]

    @property
    def locked(self) -> bool:
        """Tell whether the driver gives a person's setting as a reason for the clock."""
        return bool((self.reasons or 0) & SET_BY_USER)

    @property
    def slow_without_reason(self) -> bool:
        """Tell whether it is busy and slow though neither power, nor heat, nor anything else holds it back."""
        busy = (self.utilization_percent or 0) >= BUSY_PERCENT
        return busy and self.reasons == 0 and self.sm_mhz < NEAR_TOP * self.max_sm_mhz


def clocks(uuid: str, context: Context) -> Clocks:
    """Read them."""
    answer = answer_object(context, "reading its clocks", "setting_clocks", uuid)
    optional = [answer.get(key) for key in ("architecture", "reasons", "utilization_percent")]
    known = [value if isinstance(value, int) else None for value in optional]
    return Clocks(whole_answer(answer, "sm_mhz"), whole_answer(answer, "max_sm_mhz"), *known)


def parse_prior_lock(raw: JsonMapping) -> Optional[Band]:
    """Read the lock that the operator declares to be in force; undo puts it back."""
    if raw.get("prior_lock") is None:
        return None
    prior = values.mapping(raw, "prior_lock")
    values.only(prior, "prior_lock", frozenset({"min_mhz", "max_mhz"}))
    return Band.from_json(prior, "prior_lock")


def refuse_foreign_lock(uuid: str, now: Clocks, prior_lock: Optional[Band]) -> None:
    """Refuse where somebody else's lock seems to be in force and nobody declares what it is."""
    if prior_lock is None and (now.locked or now.slow_without_reason):
        why = "the driver names a person's setting as the reason" if now.locked else "nothing else explains it"
        raise Refused(
            f"The clocks of GPU {uuid} seem to be locked already ({now.sm_mhz} of {now.max_sm_mhz} MHz, {why}), and no "
            'driver tells to what. Declare it as prior_lock: {"min_mhz": …, "max_mhz": …}, then undo puts that back.'
        )
