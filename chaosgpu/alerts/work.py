# SPDX-License-Identifier: Apache-2.0
"""What the activities do once they are called; kept apart so that importing them stays cheap."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu.alerts.api import Alertmanager, where
from chaosgpu.alerts.silences import Silenced, set_silence
from chaosgpu.alerts.watching import Found, Wanted, expected_from, watched
from chaosgpu.errors import BadArgument, NoGuard
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.lease.guarded import guarded_run, refuse_closing
from chaosgpu.lease.run import current_run
from chaosgpu.traffic.phases import fault_of_run

__all__ = ["Asked", "as_expected", "expectations", "fired", "one", "silenced", "unsilenced"]

logger = logging.getLogger("chaostoolkit")


@dataclass(frozen=True)
class Asked:
    """Which Alertmanager, and which labels and receiver an alert must have."""

    url: object
    labels: object
    receiver: object
    timeout_s: object
    configuration: Mapping[str, object] | None
    secrets: Mapping[str, object] | None

    def manager(self) -> Alertmanager:
        """Return the Alertmanager."""
        return where(self.url, seconds("timeout_s", self.timeout_s), self.configuration, self.secrets)

    def wanted(self) -> dict[str, str]:
        """Return the labels."""
        if self.labels is None:
            return {}
        if not isinstance(self.labels, Mapping) or not all(isinstance(one, str) for one in self.labels.values()):
            raise BadArgument(f"labels must be an object of texts, not {self.labels!r}.")
        return {str(name): str(value) for name, value in self.labels.items()}


def one(name: object, within_s: object, asked: Asked) -> Found:
    """Wait for one alert."""
    return _watched({_name(name): "fires"}, within_s, asked)[_name(name)]


def fired(name: object, within_s: object, asked: Asked) -> bool:
    """Say whether somebody was told; why not is logged."""
    found = one(name, within_s, asked)
    if not found.told:
        logger.warning("Nobody was told by %s: %s", name, _why(found))
    return found.told


def expectations(expected: object, within_s: object, asked: Asked) -> JsonObject:
    """Watch several alerts and compare each with what is expected of it."""
    wanted = expected_from(expected)
    found = _watched(wanted, within_s, asked)
    alerts: JsonObject = {
        name: {"expected": wanted[name], "as_expected": one.as_wanted(wanted[name]), **one.to_json()}
        for name, one in found.items()
    }
    return {"as_expected": all(one.as_wanted(wanted[name]) for name, one in found.items()), "alerts": alerts}


def as_expected(expected: object, within_s: object, asked: Asked) -> bool:
    """Say whether each alert did what is expected of it; what did not is logged."""
    wanted = expected_from(expected)
    found = _watched(wanted, within_s, asked)
    others = [name for name, one in found.items() if not one.as_wanted(wanted[name])]
    for name in others:
        logger.warning("Alert %s: expected is %r, but %s", name, wanted[name], _why(found[name]))
    return not others


def silenced(name: object, duration_s: object, comment: object, asked: Asked) -> JsonObject:
    """Silence an alert for a while."""
    run = guarded_run()
    refuse_closing(run, f"The alert {name} was not silenced")
    labels = {"alertname": _name(name), **asked.wanted()}
    return set_silence(run, asked.manager(), labels, seconds("duration_s", duration_s), str(comment))


def unsilenced(name: object) -> JsonObject:
    """End the silences of this run on an alert."""
    run = guarded_run()
    ours = [deed for deed in run.deeds if isinstance(deed, Silenced) and deed.labels["alertname"] == _name(name)]
    if not ours:
        raise BadArgument(f"This run has not silenced {name!r}.")
    for deed in ours:
        if not deed.ended:
            deed.end()
            run.note("silence.ended", silence=deed.name, by="action")
    return {"alert": _name(name), "silences": [deed.name for deed in ours]}


def _watched(wanted: Mapping[str, Wanted], within_s: object, asked: Asked) -> dict[str, Found]:
    began = _fault_began()
    end = began + seconds("within_s", within_s)
    receiver = asked.receiver if isinstance(asked.receiver, str) else None
    return watched(asked.manager(), wanted, asked.wanted(), receiver, (began, end))


def _fault_began() -> float:
    """Return when the run's fault began; without one it is now."""
    try:
        fault = fault_of_run(current_run().directory)
    except NoGuard:
        fault = None
    return time.time() if fault is None else fault.began


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise BadArgument(f"name must be the name of an alert, not {name!r}.")
    return name


def _why(found: Found) -> str:
    if found.told:
        return f"{', '.join(found.receivers)} was told after {found.after_s} s"
    if not found.fired:
        return "it did not fire"
    if found.silenced_by or found.inhibited_by:
        return f"it fired and is silenced by {found.silenced_by}, inhibited by {found.inhibited_by}"
    return f"it fired and goes to {', '.join(found.receivers) or 'nobody'}"
