# SPDX-License-Identifier: Apache-2.0
"""A probe of the experiment, looked at beside the run and judged by its own tolerance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.errors import BadArgument, LedgerBroken, NoGuard, ReadingUnknown
from chaosgpu.stops.contract import Reading
from chaosgpu.stops.scene import Scene

__all__ = ["Probe", "Seen", "find_canary", "find_probe"]

# What says nothing about the service that is probed.
_NOT_THE_SERVICE = (ReadingUnknown, BadArgument, NoGuard, LedgerBroken)
_CANARY = ("chaosgpu.triton.probes", "canary_is_right")
_OWN_TIME = ("within_s", "timeout_s")
_GRACE_S = 2.0
_SHORTEST_S = 5.0
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Seen:
    """One play of a probe: whether it failed, and how long it took."""

    failed: Reading
    took_s: float


@dataclass(frozen=True)
class Probe:
    """One probe of the experiment."""

    activity: Mapping[str, object]
    scene: Scene

    @property
    def name(self) -> str:
        """What the experiment calls it."""
        return str(self.activity.get("name"))

    @property
    def within_s(self) -> float:
        """How long it may take before nobody knows: what it gives itself and a little more."""
        arguments = _mapping(_mapping(self.activity.get("provider")).get("arguments"))
        own = [value for key in _OWN_TIME if isinstance(value := arguments.get(key), (int, float))]
        return max(_SHORTEST_S, *(float(value) + _GRACE_S for value in own)) if own else _SHORTEST_S

    def play(self) -> Seen:
        """Play it once; raise where it cannot know, which says nothing about the service."""
        from chaoslib.activity import run_activity  # noqa: PLC0415 (lint loads this module, and plays nothing)
        from chaoslib.exceptions import ActivityFailed  # noqa: PLC0415 (as above)

        began_s = self.scene.now()
        try:
            value = run_activity(dict(self.activity), self.scene.configuration, self.scene.secrets)
        except ActivityFailed as error:
            cause = error.__context__
            if isinstance(cause, _NOT_THE_SERVICE):
                raise cause from error
            failed = Reading(met=True, text=f"{self.name!r} failed: {str(error)[:_LONGEST_TEXT]}")
        else:
            held = self._held(value)
            failed = Reading(not held, f"{self.name!r} gave {str(value)[:_LONGEST_TEXT]}")
        return Seen(failed, self.scene.now() - began_s)

    def _held(self, value: object) -> bool:
        from chaoslib.hypothesis import within_tolerance  # noqa: PLC0415 (as above)

        if "tolerance" not in self.activity:
            return value is not False
        tolerance = self.activity["tolerance"]
        return within_tolerance(tolerance, value, self.scene.configuration, self.scene.secrets) is True


def find_probe(scene: Scene, name: str) -> Probe:
    """Return the probe of that name, in the hypothesis or the method; BadArgument where there is none."""
    probes = list(_probes(scene.experiment))
    for activity in probes:
        if activity.get("name") == name:
            return Probe(activity, scene)
    known = ", ".join(repr(str(activity.get("name"))) for activity in probes) or "none"
    raise BadArgument(f"The experiment has no probe named {name!r}; it has: {known}.")


def find_canary(scene: Scene, name: str | None) -> Probe:
    """Return the probe of that name, else the one canary of the experiment; BadArgument where there is not one."""
    if name is not None:
        return find_probe(scene, name)
    found = [probe for probe in _probes(scene.experiment) if _function(probe) == _CANARY]
    if len(found) != 1:
        raise BadArgument(
            f"The experiment has {len(found)} canaries ({'.'.join(_CANARY)}), and one is needed: "
            "add one to the hypothesis, or name the probe that is meant."
        )
    return Probe(found[0], scene)


def _probes(experiment: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    for section in (_mapping(experiment.get("steady-state-hypothesis")).get("probes"), experiment.get("method")):
        for activity in section if isinstance(section, Sequence) and not isinstance(section, str) else ():
            if isinstance(activity, Mapping) and activity.get("type") == "probe":
                yield activity


def _function(activity: Mapping[str, object]) -> tuple[object, object]:
    provider = _mapping(activity.get("provider"))
    return provider.get("module"), provider.get("func")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
