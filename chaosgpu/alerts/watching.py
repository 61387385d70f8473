# SPDX-License-Identifier: Apache-2.0
"""What became of an alert since the fault: nothing, somebody was told, or it fired and nobody was."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from chaosgpu.alerts.api import Alert, Alertmanager
from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.fleet.values import JsonObject

__all__ = ["WANTED", "Found", "Wanted", "after_fault", "expected_from", "watched"]

Wanted = Literal["fires", "does not fire", "silenced"]
WANTED: tuple[Wanted, ...] = ("fires", "does not fire", "silenced")
_POLL_S = 0.5
# Prometheus and this controller may not agree on the time to the second.
_CLOCKS_S = 2.0


@dataclass(frozen=True)
class Found:
    """What Alertmanager said last of one alert."""

    fired: bool
    told: bool
    after_s: float | None
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]

    def as_wanted(self, wanted: Wanted) -> bool:
        """Compare with what an experiment says of it."""
        if wanted == "does not fire":
            return not self.fired
        return self.told if wanted == "fires" else bool(self.silenced_by) and not self.told

    def to_json(self) -> JsonObject:
        """Return the plain JSON of an activity's answer."""
        return {
            "fired": self.fired,
            "told": self.told,
            "after_s": self.after_s,
            "receivers": list(self.receivers),
            "silenced_by": list(self.silenced_by),
            "inhibited_by": list(self.inhibited_by),
        }


def after_fault(alerts: list[Alert], name: str, began: float, receiver: str | None) -> Found:
    """Judge the alerts of one name; one that fired before the fault says nothing about it."""
    old = [alert for alert in alerts if alert.started_at < began - _CLOCKS_S]
    if old:
        raise ReadingUnknown(
            f"The alert {name} had been firing for {began - old[0].started_at:.0f} s when the fault began: whether the "
            "fault would raise it cannot be known. Begin when it has ended."
        )
    told = [alert for alert in alerts if alert.told and (receiver is None or receiver in alert.receivers)]
    first = min((alert.started_at for alert in told or alerts), default=None)
    return Found(
        fired=bool(alerts),
        told=bool(told),
        after_s=None if first is None else round(max(0.0, first - began), 3),
        receivers=tuple(sorted({one for alert in alerts for one in alert.receivers})),
        silenced_by=tuple(sorted({one for alert in alerts for one in alert.silenced_by})),
        inhibited_by=tuple(sorted({one for alert in alerts for one in alert.inhibited_by})),
    )


def watched(
    manager: Alertmanager,
    wanted: Mapping[str, Wanted],
    labels: Mapping[str, str],
    receiver: str | None,
    span: tuple[float, float],
) -> dict[str, Found]:
    """Look from now until the end of a span, or until all is as wanted and cannot change back.

    `span` is when the fault began and how long after it may be waited, as seconds since the epoch. What was told once
    stays told, also where the alert has ended since.
    """
    began, end = span
    found: dict[str, Found] = {}
    while True:
        now = time.time()
        for name in wanted:
            latest = after_fault(manager.alerts({"alertname": name, **labels}), name, began, receiver)
            before = found.get(name)
            found[name] = (
                latest if before is None or not (before.told or (before.fired and not latest.fired)) else before
            )
        waits = any(one == "does not fire" for one in wanted.values())
        done = all(found[name].as_wanted(one) for name, one in wanted.items())
        if now >= end or (done and not waits):
            return found
        time.sleep(max(0.05, min(_POLL_S, end - now)))


def expected_from(value: object) -> dict[str, Wanted]:
    """Read what an experiment says of each alert."""
    if not isinstance(value, Mapping) or not value:
        raise BadArgument(f"expected must be an object of alerts with what becomes of each, not {value!r}.")
    found: dict[str, Wanted] = {}
    for name, wanted in value.items():
        if wanted not in WANTED:
            raise BadArgument(f"expected.{name} must be one of {', '.join(map(repr, WANTED))}, not {wanted!r}.")
        found[str(name)] = wanted
    return found
