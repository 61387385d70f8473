# SPDX-License-Identifier: Apache-2.0
"""The experiments of a plan: as the approver has read them, and such that what the plan says reaches them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from chaosgpu.drill.plan import Experiment
from chaosgpu.drill.planfile import Written
from chaosgpu.errors import BadArgument, Refused
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["STOP_KEY", "Loaded", "load"]

STOP_KEY = "chaosgpu_stop_when"
_GUARD = "chaosgpu.controls.guard"
_FLEET = ("chaosgpu_inventory", "chaosgpu_limit", "chaosgpu_blast_radius")
_LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True)
class Loaded:
    """One experiment with its bytes and the configuration that the plan gives it."""

    planned: Experiment
    title: str
    raw: bytes
    values: JsonObject

    @property
    def settings(self) -> list[str]:
        """The configuration as `chaosgpu job --set` takes it."""
        return [f"{key}={json.dumps(value)}" for key, value in self.values.items()]


def load(written: Written) -> list[Loaded]:
    """Read each experiment; Refused where one is not as planned, BadArgument where the plan would not reach it."""
    return [_load(written, one) for one in written.plan.experiments]


def _load(written: Written, planned: Experiment) -> Loaded:
    path = written.beside(planned.file)
    raw = _bytes(path)
    found = hashlib.sha256(raw).hexdigest()
    if found != planned.sha256:
        raise Refused(
            f"{planned.file} is not the experiment that was planned: its digest is {found}, and the plan says "
            f"{planned.sha256}. Read it, put the digest into the plan, and have the plan approved anew."
        )
    document = _document(path, raw)
    configuration = document.get("configuration")
    declared = configuration if isinstance(configuration, Mapping) else {}
    values = _values(written, planned, declared)
    _check_level(written, planned, document)
    _check_guard(written, planned, document)
    return Loaded(planned, str(document.get("title", planned.file)), raw, values)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise BadArgument(f"The experiment {path} could not be read: {error.strerror}.") from error
    if len(raw) > _LARGEST:
        raise BadArgument(f"{path} was not read: it is larger than {_LARGEST} bytes. Is it an experiment?")
    return raw


def _document(path: Path, raw: bytes) -> Mapping[str, object]:
    """Read it as Chaos Toolkit will."""
    try:
        document = json.loads(raw) if path.suffix == ".json" else yaml.safe_load(raw)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadArgument(f"The experiment {path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict):
        raise BadArgument(f"{path} is no experiment: it must be an object with a title and a method.")
    return document


def _values(written: Written, planned: Experiment, declared: Mapping[str, object]) -> JsonObject:
    """Return what the plan sets; Chaos Toolkit would ignore a key that the experiment does not declare."""
    hosts, plan = written.plan.hosts, written.plan
    ours = sorted({*planned.set} & {*_FLEET, STOP_KEY})
    if ours:
        raise BadArgument(f"{planned.file}: {ours[0]} follows from the plan's hosts or stop_when: take it out of set.")
    values: JsonObject = dict(planned.set)
    if hosts.inventory:
        sources: list[JsonValue] = [str(written.beside(one).resolve()) for one in hosts.inventory]
        values |= dict(zip(_FLEET, (sources, ",".join(hosts.names), hosts.blast_radius), strict=True))
    elif _FLEET[0] in declared:
        raise BadArgument(f"{planned.file} is for hosts of an inventory, and the plan names none: name it under hosts.")
    if plan.stop_when is not None:
        values[STOP_KEY] = plan.stop_when
    missing = [key for key in values if key not in declared]
    if missing:
        raise BadArgument(
            f"{planned.file} does not declare {missing[0]} in its configuration, so what the plan says would be "
            f"ignored there. It declares: {', '.join(map(str, declared)) or 'nothing'}."
        )
    return values


def _check_level(written: Written, planned: Experiment, document: Mapping[str, object]) -> None:
    """Refuse an experiment of a higher level under the name of a lower one."""
    extensions = document.get("extensions")
    levels = [
        one["level"]
        for one in (extensions if isinstance(extensions, list) else [])
        if isinstance(one, Mapping) and one.get("name") == "chaosgpu" and isinstance(one.get("level"), int)
    ]
    if levels and max(levels) > written.plan.level:
        raise Refused(
            f"{planned.file} is an experiment of level {max(levels)}, and {written.plan.drill} is a drill of level "
            f"{written.plan.level}: a level may not be skipped."
        )


def _check_guard(written: Written, planned: Experiment, document: Mapping[str, object]) -> None:
    """Refuse an experiment without the guard, or whose guard would not hear of the plan's stop conditions."""
    controls = document.get("controls")
    guards = [
        provider
        for one in (controls if isinstance(controls, list) else [])
        if isinstance(one, Mapping) and isinstance(provider := one.get("provider"), Mapping)
        and provider.get("module") == _GUARD
    ]  # fmt: skip
    if not guards:
        raise BadArgument(f"{planned.file} has no guard among its controls, so it would have no verdict. See lint.")
    if written.plan.stop_when is None:
        return
    arguments = guards[0].get("arguments")
    given = arguments.get("stop_when") if isinstance(arguments, Mapping) else None
    if not isinstance(given, str) or f"${{{STOP_KEY}}}" not in given:
        raise BadArgument(
            f"{planned.file} would not hear of the plan's stop_when: give its guard the argument stop_when: "
            f'"${{{STOP_KEY}}}".'
        )
