# SPDX-License-Identifier: Apache-2.0
"""What Docker and Podman say of one container, through the program that both have alike."""

import json
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, BadRequest, Refused, Unanswered
from chaosgpu.agent.service.program import Done, find, run
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["ANSWER_WITHIN_S", "call", "found_by", "inspect", "policy_of", "runs", "started"]

ANSWER_WITHIN_S = 20.0
_ENGINES = ("docker", "podman")


def found_by(name: str) -> Tuple[JsonObject, JsonObject]:
    """Return which engine has it, and how it is; one that does not answer matters only where no other has it."""
    engines = [engine for engine in _ENGINES if find(engine)]
    if not engines:
        raise Refused("containers were named, and this host has neither docker nor podman.")
    silent: List[AgentError] = []
    for engine in engines:
        prior: JsonObject = {"name": name, "engine": engine}
        try:
            now = inspect(prior, name)
        except Unanswered as error:
            silent.append(error)
            continue
        if now is not None:
            return prior, now
    if silent:
        raise silent[0]
    raise BadRequest(f"There is no container {name} on this host, says {' and '.join(engines)}.")


def inspect(prior: JsonMapping, name: str) -> Optional[JsonObject]:
    """Return how it is; None where the engine has none of that name, Unanswered where nobody knows."""
    done = call(prior, ANSWER_WITHIN_S, "container", "inspect", name)
    if not done.well:
        if "no such container" in f"{done.said} {done.out}".lower():
            return None
        raise Unanswered(f"The container {name} cannot be looked at: {done.sentence()}")
    try:
        found = json.loads(done.out)
    except ValueError as error:
        raise Unanswered(f"The container {name} cannot be looked at: {done.words[0]} gave no JSON.") from error
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise Unanswered(f"The container {name} cannot be looked at: {done.words[0]} gave {done.out[:100]!r}.")
    shown: JsonObject = found[0]
    return shown


def call(prior: JsonMapping, within_s: float, *words: str) -> Done:
    """Ask the engine of a container that is taken."""
    engine = values.text(prior, "engine")
    program = find(engine)
    if program is None:
        raise Unanswered(f"The program {engine} is gone from this host, and containers of it are taken.")
    return run((program, *words), within_s)


def runs(now: JsonMapping) -> bool:
    """Tell whether it is up, and not paused or being started again."""
    state = values.mapping(now, "State")
    return state.get("Running") is True and state.get("Status") == "running"


def started(now: JsonMapping) -> str:
    """Return when it was started last."""
    return str(values.mapping(now, "State").get("StartedAt"))


def policy_of(now: Optional[JsonMapping]) -> str:
    """Return how the engine restarts it, as `--restart` takes it."""
    policy = values.mapping(values.mapping(now or {}, "HostConfig"), "RestartPolicy")
    name, most = str(policy.get("Name") or "no"), policy.get("MaximumRetryCount")
    return f"{name}:{most}" if name == "on-failure" and most else name
