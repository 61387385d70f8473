# SPDX-License-Identifier: Apache-2.0
"""What the configuration's `chaosgpu_lifecycle` asks for, checked before anything is touched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import flag, number, versions, whole
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["BACK", "KEY", "STEPS", "Plan", "check_drain", "planned", "recorded_plan", "timeout_of"]

KEY = "chaosgpu_lifecycle"
# On the way there, in this order, and on the way back.
STEPS = ("drain", "snapshot", "pin", "verify")
BACK = ("rollback", "verify", "return", "quarantine")
_KEYS = (
    "hosts", "drain", "packages", "lock", "within_s", "max_unavailable", "allow_reboot", "steps", "timeouts_s",
)  # fmt: skip
_DRAIN = ("units", "containers", "slurm", "hook", "allow_processes", "within_s")
_WITHIN_S, _LONGEST_S = 3600, 86400
# How long a step may take on a host, or on as many as Ansible takes at once. A module may be built, a host rebooted.
_TIMEOUTS_S = {
    "drain": 900.0,
    "snapshot": 1800.0,
    "pin": 3600.0,
    "verify": 600.0,
    "rollback": 3600.0,
    "return": 900.0,
    "quarantine": 300.0,
}


@dataclass(frozen=True)
class Plan:
    """The lifecycle of the hosts of one run."""

    # An Ansible pattern; None: the hosts that the experiment's actions name.
    hosts: str | None = None
    drain: JsonObject = field(default_factory=dict)
    # The same for every host, or by a lock file.
    packages: JsonObject = field(default_factory=dict)
    lock: str | None = None
    # The host goes back by itself after so long, whatever happens to the controller.
    within_s: int = _WITHIN_S
    # How many hosts may be out of service at once; None: as many as the run has.
    max_unavailable: int | None = None
    allow_reboot: bool = False
    steps: tuple[str, ...] = ("drain",)
    timeouts_s: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> JsonObject:
        """Return it for the record."""
        return {
            "hosts": self.hosts,
            "drain": self.drain,
            "packages": self.packages,
            "lock": self.lock,
            "within_s": self.within_s,
            "max_unavailable": self.max_unavailable,
            "allow_reboot": self.allow_reboot,
            "steps": [*self.steps],
            "timeouts_s": dict(self.timeouts_s),
        }


def planned(configuration: Mapping[str, object]) -> Plan | None:
    """Read the plan from a configuration, None where it names none; BadArgument with what is wrong in it."""
    if KEY not in configuration:
        return None
    return _plan(configuration[KEY])


def recorded_plan(entry: Mapping[str, JsonValue]) -> Plan:
    """Read back what `as_json` wrote into a run's record."""
    found = entry.get("plan")
    return (
        _plan({key: value for key, value in found.items() if value not in (None, {})})
        if isinstance(found, dict)
        else Plan()
    )


def timeout_of(step: str, timeouts_s: Mapping[str, float]) -> float:
    """Return how long a step may take on a host."""
    return timeouts_s.get(step, _TIMEOUTS_S[step])


def _plan(given: object) -> Plan:
    if not isinstance(given, Mapping):
        raise BadArgument(f"{KEY} must be an object with some of {', '.join(_KEYS)}, not {given!r}.")
    _known(given, _KEYS, KEY)
    packages, lock = given.get("packages"), given.get("lock")
    if packages is not None and lock is not None:
        raise BadArgument(f"{KEY} has packages and a lock file: give one of them.")
    pinned = packages is not None or lock is not None
    limit = given.get("max_unavailable")
    return Plan(
        _pattern(given.get("hosts")),
        check_drain(given.get("drain", {}), f"{KEY}.drain"),
        {} if packages is None else versions(packages, f"{KEY}.packages"),
        None if lock is None else _path(lock),
        whole(f"{KEY}.within_s", _plain(given.get("within_s", _WITHIN_S)), least=60, most=_LONGEST_S),
        None if limit is None else whole(f"{KEY}.max_unavailable", _plain(limit), least=1),
        flag(f"{KEY}.allow_reboot", _plain(given.get("allow_reboot", False))),
        _steps(given.get("steps"), pinned=pinned),
        _timeouts(given.get("timeouts_s", {})),
    )


def check_drain(given: object, what: str) -> JsonObject:
    """Check what is to be drained, as far as it can be seen without the host."""
    if not isinstance(given, Mapping):
        raise BadArgument(f"{what} must be an object with some of {', '.join(_DRAIN)}, not {given!r}.")
    _known(given, _DRAIN, what)
    for key in ("units", "containers", "hook", "allow_processes"):
        names = given.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise BadArgument(f"{what}.{key} must be a list of texts, not {names!r}.")
    if "slurm" in given and not isinstance(given["slurm"], Mapping):
        raise BadArgument(
            f"{what}.slurm must be an object, empty or with the name of the node, not {given['slurm']!r}."
        )
    found = dict(given)
    if "within_s" in found:
        found["within_s"] = whole(f"{what}.within_s", _plain(found["within_s"]), least=1, most=_LONGEST_S)
    return found


def _known(given: Mapping[str, object], keys: tuple[str, ...], what: str) -> None:
    """Refuse an unknown key: what it was meant for would not happen."""
    for key in given:
        if key not in keys:
            close = get_close_matches(str(key), keys, n=1, cutoff=0.5)
            advice = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(keys)}."
            raise BadArgument(f"{what} has no key {key!r}; {advice} Nothing was touched.")


def _steps(given: object, *, pinned: bool) -> tuple[str, ...]:
    """Check the steps of the way there; their order is no choice."""
    usual = STEPS if pinned else ("drain",)
    if given is None:
        return usual
    if not isinstance(given, list) or not given or not all(step in STEPS for step in given):
        raise BadArgument(f"{KEY}.steps must be a list with some of {', '.join(STEPS)}, not {given!r}.")
    if given != [step for step in STEPS if step in given]:
        raise BadArgument(f"{KEY}.steps must have each step once and in the order {', '.join(STEPS)}, not {given!r}.")
    if "pin" in given and "snapshot" not in given:
        raise BadArgument(f"{KEY}.steps has pin without snapshot: there would be no way back.")
    of_packages = [step for step in given if step != "drain"]
    if of_packages and not pinned:
        raise BadArgument(
            f"{KEY}.steps has {', '.join(of_packages)}, and no packages or lock file that they are about."
        )
    if pinned and "pin" not in given:
        raise BadArgument(f"{KEY} has packages or a lock file, and no step pin that would bring them.")
    return tuple(given)


def _timeouts(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise BadArgument(f"{KEY}.timeouts_s must be an object of seconds by step, not {given!r}.")
    _known(given, tuple(_TIMEOUTS_S), f"{KEY}.timeouts_s")
    return {
        step: number(f"{KEY}.timeouts_s.{step}", _plain(value), over=0, most=_LONGEST_S)
        for step, value in given.items()
    }


def _pattern(given: object) -> str | None:
    if given is None or (isinstance(given, str) and given.strip()):
        return given
    raise BadArgument(f"{KEY}.hosts must be an Ansible pattern, not {given!r}; an empty selection is none.")


def _path(given: object) -> str:
    if isinstance(given, str) and given.strip():
        return given
    raise BadArgument(f"{KEY}.lock must name a lock file, not {given!r}.")


def _plain(value: object) -> object:
    """Read what comes from the environment or a survey, where everything is text."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError:
        return value
