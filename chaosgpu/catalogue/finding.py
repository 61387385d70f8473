# SPDX-License-Identifier: Apache-2.0
"""Compares what a run found with the finding that its file declares: the same verdict for another reason is another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.catalogue.declared import Declared, Shown

__all__ = ["Seen", "seen"]

type Value = bool | float | str | None

_LONGEST = 160
_ABSENT = "not there"


@dataclass(frozen=True)
class Seen:
    """What one declared step gave."""

    step: str
    at: str
    value: Value
    declared: str
    as_declared: bool


def seen(declared: Declared, journal: Mapping[str, object]) -> tuple[Seen, ...]:
    """Return what broke the steady state after the method, and what the steps of the method gave.

    1. Where the form deviates: the first probe of the hypothesis that did not hold is one of `deviates`, as said there.
    2. Every step in `shows` was played, and gave what is said there each time.
    """
    found = [_broken(declared.deviates, journal)] if declared.deviates else []
    return (*found, *(_step(one, _activities(journal.get("run"))) for one in declared.shows))


def _broken(wanted: Sequence[Shown], journal: Mapping[str, object]) -> Seen:
    """Judge the probe that broke the steady state; Chaos Toolkit asks none after it."""
    states = journal.get("steady_states")
    after = states.get("after") if isinstance(states, Mapping) else None
    probes = _activities(after.get("probes") if isinstance(after, Mapping) else None)
    broken = next((probe for probe in probes if probe.get("tolerance_met") is not True), None)
    words = " or ".join(f"{one.step!r} {one}" for one in wanted)
    if broken is None:
        return Seen("the steady state after the method", "", _ABSENT, words, as_declared=False)
    gave, name = _gave(broken), _name(broken)
    right = next((one for one in wanted if one.step == name and _is(one, _part(gave, one.at))), None)
    at = right.at if right is not None else next((one.at for one in wanted if one.step == name), "")
    return Seen(name, at, _short(_part(gave, at)), words, right is not None)


def _step(wanted: Shown, played: Sequence[Mapping[str, object]]) -> Seen:
    """Judge a step of the method; where it was played more than once, what is kept is the first that was otherwise."""
    values = [_part(_gave(one), wanted.at) for one in played if _name(one) == wanted.step]
    otherwise = [value for value in values if not _is(wanted, value)]
    shown = (otherwise or values or [_ABSENT])[0]
    return Seen(wanted.step, wanted.at, _short(shown), str(wanted), bool(values) and not otherwise)


def _is(wanted: Shown, value: object) -> bool:
    """Tell whether a value is as declared; a truth value is no number."""
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return (
        (wanted.equals is None or (type(value) is type(wanted.equals) and value == wanted.equals))
        and (wanted.least is None or (number is not None and number >= wanted.least))
        and (wanted.most is None or (number is not None and number <= wanted.most))
        and (wanted.says is None or (isinstance(value, str) and wanted.says in value))
    )


def _part(value: object, at: str) -> object:
    """Follow names and numbers into a value."""
    for key in at.split(".") if at else ():
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return _ABSENT
    return value


def _gave(activity: Mapping[str, object]) -> object:
    """Return what an activity gave: its output, or the last line of its error."""
    error = activity.get("exception")
    if activity.get("status") == "succeeded" or not isinstance(error, list) or not error:
        return activity.get("output")
    return str(error[-1]).strip()


def _activities(value: object) -> list[Mapping[str, object]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _name(activity: Mapping[str, object]) -> str:
    declared = activity.get("activity")
    return str(declared.get("name")) if isinstance(declared, Mapping) else ""


def _short(value: object) -> Value:
    """Keep numbers and truth values; of all else the beginning of its text."""
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)[:_LONGEST]
