# SPDX-License-Identifier: Apache-2.0
"""Read from the journal what counts for the verdict; pure functions."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chaosgpu.controls.checks import Activity, activities, declared_actions, is_undo_all, resolved
from chaosgpu.lease.directory import plain
from chaosgpu.lease.verdict import Happened

__all__ = ["from_journal", "outcome_of"]

type Journal = Mapping[str, object]
type PlayedActivity = Mapping[str, object]

# A probe that could not know, or was called wrongly, says nothing about the service.
_NOT_THE_SERVICE = ("ReadingUnknown", "BadArgument", "NoGuard", "LedgerBroken")
_LONGEST = 300


def from_journal(base: Happened, journal: Journal, experiment: Mapping[str, object]) -> Happened:
    """Add to `base` what the journal says of activities, rollbacks and the hypothesis."""
    states = journal.get("steady_states")
    states = states if isinstance(states, Mapping) else {}
    before, after = _mapping(states.get("before")), _mapping(states.get("after"))
    during = [state for state in _sequence(states.get("during")) if isinstance(state, Mapping)]
    broken_during = next((state for state in during if state.get("steady_state_met") is not True), None)
    unknown = [outcome for outcome in (after, broken_during) if outcome is not None and _unknown(outcome)]
    began = bool(_sequence(journal.get("run")))
    return replace(
        base,
        has_hypothesis=bool(activities(experiment, "probes")),
        held_before=_met(before),
        broke_before=_broke(before),
        held_after=_met(after),
        broke_after=_broke(after),
        unknown_after=_broke(unknown[0]) if unknown else None,
        checks_during=len(during),
        broke_during=_broke(broken_during),
        failed_actions=() if base.refused else _failed_actions(journal, experiment, before),
        failed_rollbacks=_failed_rollbacks(journal) if began else (),
        unplayed_rollbacks=_unplayed_rollbacks(journal, experiment) if began and not base.dry else (),
        undo_failed=_undo_failed(journal),
    )


def outcome_of(run: PlayedActivity) -> str:
    """Say in a few words how an activity went: its status, and its error or its result."""
    exception = _sequence(run.get("exception"))
    if exception:
        return str(exception[-1]).strip()[:_LONGEST]
    status = run.get("status")
    return _short(run.get("output")) if status == "succeeded" else "interrupted"


def _failed_actions(
    journal: Journal, experiment: Mapping[str, object], before: Mapping[str, object] | None
) -> tuple[str, ...]:
    """Name each action that failed, and each that was declared and not played (one in the background can vanish)."""
    played = [run for run in _sequence(journal.get("run")) if isinstance(run, Mapping)]
    found = [
        f"{_name(run)!r} failed: {outcome_of(run)}"
        for run in played
        if _activity(run).get("type") == "action" and run.get("status") != "succeeded"
    ]
    if _met(before) is False:
        return tuple(found)
    left = Counter(str(item.get("name")) for item in declared_actions(experiment))
    left.subtract(_name(run) for run in played)
    return (*found, *(f"{name!r} was not played" for name, count in left.items() if count > 0))


def _failed_rollbacks(journal: Journal) -> tuple[str, ...]:
    """Name each rollback of the experiment's own that failed."""
    return tuple(
        f"{_name(run)!r} failed ({outcome_of(run)})"
        for run in _rollbacks(journal)
        if run.get("status") != "succeeded" and not is_undo_all(_activity(run))
    )


def _unplayed_rollbacks(journal: Journal, experiment: Mapping[str, object]) -> tuple[str, ...]:
    """Name each rollback that was not played; what `undo_all` would have done, the last sweep has done."""
    left = Counter(
        str(item.get("name"))
        for item in resolved(experiment, "rollbacks")
        if item is not None and not is_undo_all(item)
    )
    left.subtract(_name(run) for run in _rollbacks(journal))
    return tuple(f"{name!r} was not played" for name, count in left.items() if count > 0)


def _undo_failed(journal: Journal) -> str | None:
    """Return why the rollback that undoes the run failed."""
    for run in _rollbacks(journal):
        if is_undo_all(_activity(run)) and run.get("status") != "succeeded":
            return outcome_of(run)
    return None


def _rollbacks(journal: Journal) -> list[PlayedActivity]:
    return [run for run in _sequence(journal.get("rollbacks")) if isinstance(run, Mapping)]


def _met(state: Mapping[str, object] | None) -> bool | None:
    """Tell whether the steady state held; None where it was not checked. Anything but true is not met."""
    return None if state is None else state.get("steady_state_met") is True


def _broke(state: Mapping[str, object] | None) -> str | None:
    """Name the probe that broke the steady state, and what it said."""
    if state is None or _met(state):
        return None
    probes = [probe for probe in _sequence(state.get("probes")) if isinstance(probe, Mapping)]
    broken = next((probe for probe in reversed(probes) if probe.get("tolerance_met") is not True), None)
    return "its probes were not played to the end" if broken is None else f"{_name(broken)!r} gave {outcome_of(broken)}"


def _unknown(state: Mapping[str, object]) -> bool:
    """Tell whether the steady state broke only because a probe could not know."""
    probes = [probe for probe in _sequence(state.get("probes")) if isinstance(probe, Mapping)]
    errors = [str(line) for probe in probes for line in _sequence(probe.get("exception"))]
    return any(name in error.split("\n", 1)[0][:120] for error in errors for name in _NOT_THE_SERVICE)


def _activity(run: PlayedActivity) -> Activity:
    activity = run.get("activity")
    return activity if isinstance(activity, Mapping) else {}


def _name(run: PlayedActivity) -> str:
    return str(_activity(run).get("name"))


def _mapping(value: object) -> Mapping[str, object] | None:
    return value if isinstance(value, Mapping) else None


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else ()


def _short(value: object) -> str:
    written = json.dumps(plain(value), ensure_ascii=False)
    return written if len(written) <= _LONGEST else written[:_LONGEST] + "…"
