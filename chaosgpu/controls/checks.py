# SPDX-License-Identifier: Apache-2.0
"""What must be true of an experiment before anything of it is played; each check returns a sentence or None."""

import importlib
from collections.abc import Callable, Iterable, Mapping

__all__ = ["Activity", "activities", "declared_actions", "is_undo_all", "resolved", "why_refused"]

type Activity = Mapping[str, object]
type Experiment = Mapping[str, object]

_UNDO_ALL = ("chaosgpu.lease.actions", "undo_all")
_HOW = (
    'Add to the experiment: "rollbacks": [{"type": "action", "name": "undo everything of this run", "provider": '
    '{"type": "python", "module": "chaosgpu.lease.actions", "func": "undo_all"}}].'
)


def why_refused(experiment: Experiment, *, dry: bool) -> str | None:
    """Return the first reason against playing this experiment, or None."""
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: _unknown_ref(experiment),
        lambda: _missing_undo(experiment),
        lambda: _not_importable(experiment),
        lambda: _own_dry(experiment) if dry else None,
    )
    for check in checks:
        reason = check()
        if reason is not None:
            return reason
    return None


def activities(experiment: Experiment, section: str) -> list[Activity]:
    """List the activities of `method`, `rollbacks` or `probes` (those of the hypothesis)."""
    if section == "probes":
        hypothesis = experiment.get("steady-state-hypothesis")
        source: object = hypothesis.get("probes") if isinstance(hypothesis, Mapping) else None
    else:
        source = experiment.get(section)
    return [item for item in source if isinstance(item, Mapping)] if isinstance(source, list) else []


def resolved(experiment: Experiment, section: str) -> list[Activity | None]:
    """List the activities of a section with each `ref` followed as Chaos Toolkit does; None where it leads nowhere."""
    named: dict[object, Activity] = {
        item["name"]: item
        for item in [*activities(experiment, "method"), *activities(experiment, "probes")]
        if item.get("name")
    }
    return [named.get(item["ref"]) if item.get("ref") else item for item in activities(experiment, section)]


def declared_actions(experiment: Experiment) -> list[Activity]:
    """List the actions of the method, refs followed."""
    return [item for item in resolved(experiment, "method") if item is not None and item.get("type") == "action"]


def provider_of(activity: Activity) -> Mapping[str, object]:
    """Return an activity's provider."""
    provider = activity.get("provider")
    return provider if isinstance(provider, Mapping) else {}


def is_undo_all(activity: Activity) -> bool:
    """Tell whether an activity undoes the whole run."""
    provider = provider_of(activity)
    return (provider.get("module"), provider.get("func")) == _UNDO_ALL


def _unknown_ref(experiment: Experiment) -> str | None:
    """Find an unknown reference: it ends Chaos Toolkit in the middle of the rollbacks, without a journal."""
    for declared, found in zip(activities(experiment, "rollbacks"), resolved(experiment, "rollbacks"), strict=True):
        if found is None:
            return (
                f"The rollback ref {declared.get('ref')!r} names no activity of the method or the hypothesis: "
                "Chaos Toolkit would break off the rollbacks there. Name it rightly or write the activity out."
            )
    return None


def _missing_undo(experiment: Experiment) -> str | None:
    """Find an experiment without the undo in its rollbacks: it would lean on our last sweep alone."""
    rollbacks = [item for item in resolved(experiment, "rollbacks") if item is not None]
    undoing = [item for item in rollbacks if is_undo_all(item)]
    if not undoing:
        return f"The experiment has no rollback that undoes the run. {_HOW}"
    if all(item.get("background") for item in undoing):
        return (
            "The rollback that undoes the run is in the background, where nobody waits for it: take `background` out."
        )
    return None


def _not_importable(experiment: Experiment) -> str | None:
    """Find a rollback whose module is not there: Chaos Toolkit loses all rollbacks behind it."""
    for item in _present(resolved(experiment, "rollbacks")):
        provider = provider_of(item)
        if provider.get("type") != "python":
            continue
        module, func = str(provider.get("module")), str(provider.get("func"))
        try:
            found = hasattr(importlib.import_module(module), func)
        except ImportError as error:
            return f"The rollback {item.get('name')!r} cannot be loaded: {error}. Install what it needs first."
        if not found:
            return f"The rollback {item.get('name')!r} names {module}.{func}, which does not exist."
    return None


def _own_dry(experiment: Experiment) -> str | None:
    """Find an activity with its own `dry`: it overrides `--dry` and is played for real."""
    for item in activities(experiment, "method"):
        if "dry" in item:
            return (
                f"The activity {item.get('name')!r} has its own `dry`, which Chaos Toolkit lets override --dry: "
                "it would be played for real. Take it out."
            )
    return None


def _present(items: Iterable[Activity | None]) -> list[Activity]:
    return [item for item in items if item is not None]
