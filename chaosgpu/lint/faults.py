# SPDX-License-Identifier: Apache-2.0
"""Which activities break something through this package, and what puts it back."""

from chaosgpu.lint.experiment import Activity

__all__ = ["GUARD", "UNDO_ALL", "is_fault", "own_undo"]

GUARD = "chaosgpu.controls.guard"
UNDO_ALL = ("chaosgpu.lease.actions", "undo_all")

# Actions on a service through its own API are no leases of a host: each has an undo of its own in the same module.
_OWN_UNDO = {
    ("chaosgpu.triton.actions", "unload_model"): "load_model",
    ("chaosgpu.triton.actions", "override_config"): "restore_config",
}
_UNDOING = frozenset(
    {("chaosgpu.fleet.actions", "rollback"), ("chaosgpu.fleet.actions", "return_to_service")}
    | {(module, undo) for (module, _), undo in _OWN_UNDO.items()}
)

# Their actions break nothing: load as users make it, a page that is noted, an alert that wakes nobody.
_HARMLESS = frozenset({"alerts", "lease", "metrics", "traffic"})


def is_fault(activity: Activity) -> bool:
    """Say whether the activity breaks something (undoing is no fault)."""
    parts = activity.module.split(".")
    of_ours = parts[0] == "chaosgpu" and parts[-1] == "actions" and parts[1] not in _HARMLESS
    return of_ours and (activity.module, activity.function) not in _UNDOING


def own_undo(activity: Activity) -> str | None:
    """Return the function that undoes the activity, where `undo_all` does not."""
    return _OWN_UNDO.get((activity.module, activity.function))
