# SPDX-License-Identifier: Apache-2.0
"""Containers of Docker or Podman: stopped by name, kept from coming back by themselves, and started again."""

from typing import Dict, List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Forbidden, Refused, Unverified
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.engine import ANSWER_WITHIN_S, call, found_by, inspect, policy_of, runs, started
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget, Judged, Thing
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["Containers"]

_GRACE_S = 30.0  # from SIGTERM to SIGKILL
_STAYS_S = 0.5
_UP, _DOWN = "up", "down"


class Containers(Thing):
    """The containers that a drain names."""

    kind = "containers"

    def __init__(self, names: Tuple[str, ...], units: Tuple[str, ...], desk: Desk) -> None:
        self._names, self._units, self._desk = names, units, desk

    def prior(self) -> JsonObject:
        """Note which run and how they restart; refuse what would be gone, or come back, when it is stopped."""
        if self._desk.home.limited:
            raise Forbidden(f"Under CHAOSGPU_AGENT_HOME={self._desk.home.path} no container is touched.")
        found: List[JsonValue] = [self._fit(name) for name in self._names]
        return {"containers": found}

    def shown(self, taken: Taken) -> Dict[str, str]:
        """Say of each whether it runs, and whether the engine would start it by itself."""
        return {f"container {name}": _word(inspect(prior, name)) for name, prior in _by_name(taken).items()}

    def drained(self, taken: Taken) -> Dict[str, str]:
        """Say that all are down; Podman's keep their policy, which its own service alone acts on, at boot."""
        found = _by_name(taken).items()
        kept = {name: prior["policy"] if prior["engine"] == "podman" else "no" for name, prior in found}
        return {f"container {name}": _worded(up=False, policy=policy) for name, policy in kept.items()}

    def take(self, taken: Taken, budget: Budget) -> None:
        """Stop it, then take its restart policy away, since Docker's `always` would come back with the daemon.

        In this order Docker changes its own notes alone; of one that runs it would set every limit anew.
        """
        for name, prior in _by_name(taken).items():
            now = inspect(prior, name)
            if now is not None and runs(now):
                grace_s = max(1, int(min(_GRACE_S, budget.left_s() - 1)))
                done = call(prior, budget.left_s(grace_s + ANSWER_WITHIN_S), "stop", "-t", str(grace_s), name)
                self._desk.step(f"stopped {name}")
                now = inspect(prior, name)
                if now is not None and runs(now):
                    raise Unverified(f"The container {name} was told to stop, and runs: {done.sentence()}")
            if policy_of(now) != "no" and prior["engine"] == "docker":
                done = call(prior, budget.left_s(ANSWER_WITHIN_S), "update", "--restart=no", name)
                self._desk.step(f"unbound {name}")
                if policy_of(inspect(prior, name)) != "no":
                    raise Unverified(f"The container {name} would be started again: {done.sentence()}")

    def judge(self, taken: Taken) -> Judged:
        """Start what ran and nobody else has had a hand in; give back a restart policy that is still ours."""
        start: List[JsonValue] = []
        bind: List[JsonValue] = []
        after: Dict[str, str] = {}
        left: List[str] = []
        for name, prior in _by_name(taken).items():
            now = inspect(prior, name)
            said = _others_hand(now, prior)
            if said:
                left.append(f"the container {name} {said}; it was left so")
            elif prior["up"] and now is not None and not runs(now):
                start.append(name)
            policy = policy_of(now)
            if now is not None and now["Id"] == prior["id"] and policy != prior["policy"]:
                if policy == "no":
                    bind.append(name)
                else:
                    left.append(f"the container {name} restarts {policy} now and {prior['policy']} before; left so")
            kept = prior["policy"] if name in bind else policy
            after[f"container {name}"] = _worded(up=name in start or (now is not None and runs(now)), policy=kept)
            if now is None:
                after[f"container {name}"] = _word(None)
        return Judged({"start": start, "bind": bind}, after, left)

    def put_back(self, taken: Taken, budget: Budget) -> List[str]:
        """Bind each to its restart policy again, start what is to be started, and see it stay up."""
        known = _by_name(taken)
        for name in _listed(taken.plan, "bind"):
            policy = values.text(known[name], "policy")
            if policy_of(inspect(known[name], name)) == "no":
                done = call(known[name], budget.left_s(ANSWER_WITHIN_S), "update", f"--restart={policy}", name)
                self._desk.step(f"bound {name}")
                if policy_of(inspect(known[name], name)) != policy:
                    raise Unverified(f"The container {name} does not restart {policy} again: {done.sentence()}")
        for name in _listed(taken.plan, "start"):
            now = inspect(known[name], name)
            if now is not None and not runs(now):
                done = call(known[name], budget.left_s(ANSWER_WITHIN_S), "start", name)
                self._desk.step(f"started {name}")
                budget.clock.sleep(_STAYS_S)
                now = inspect(known[name], name)
                if now is None or not runs(now):
                    raise Unverified(f"The container {name} is not up: {done.sentence()}. See its logs.")
        return []

    def _fit(self, name: str) -> JsonObject:
        prior, now = found_by(name)
        status = values.mapping(now, "State").get("Status")
        if not runs(now) and status not in ("exited", "created", "stopped"):
            raise Refused(f"The container {name} is {status}: let it be up or down first.")
        if values.mapping(now, "HostConfig").get("AutoRemove"):
            raise Refused(f"The container {name} is removed when it stops (--rm), so nothing could start it again.")
        if prior["engine"] == "podman" and policy_of(now) != "no" and self._podman_restarts():
            raise Refused(
                f"Podman starts the container {name} at boot (restart {policy_of(now)}), by podman-restart.service: "
                "name that service under units, too, or run the container as a unit."
            )
        pid = values.mapping(now, "State").get("Pid")
        seen: JsonObject = {
            "id": values.text(now, "Id"),
            "up": runs(now),
            "policy": policy_of(now),
            "started": started(now),
        }
        return {**prior, **seen, "pid": pid if runs(now) else None}

    def _podman_restarts(self) -> bool:
        """Tell whether Podman's own service would start containers at boot, and the drain does not keep it down."""
        systemd = self._desk.systemd
        if systemd is None or "podman-restart.service" in self._units:
            return False
        said = systemd.ask("show", "--property=UnitFileState", "--value", "--", "podman-restart.service")
        return said.strip() == "enabled"


def _word(now: Optional[JsonMapping]) -> str:
    return "gone" if now is None else _worded(up=runs(now), policy=policy_of(now))


def _worded(*, up: bool, policy: JsonValue) -> str:
    return f"{_UP if up else _DOWN}{'' if policy == 'no' else f', restarts {policy}'}"


def _others_hand(now: Optional[JsonMapping], prior: JsonMapping) -> str:
    """Say what somebody has done to it meanwhile; empty where nobody has."""
    if now is None:
        return "is gone"
    if now["Id"] != prior["id"]:
        return "was made anew by somebody meanwhile"
    if started(now) != prior["started"]:
        return "was started by somebody meanwhile" + ("" if runs(now) else " and is down again")
    return ""


def _by_name(taken: Taken) -> Dict[str, JsonObject]:
    found = taken.prior.get("containers")
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {values.text(one, "name"): one for one in entries}


def _listed(plan: JsonMapping, key: str) -> List[str]:
    found = plan.get(key)
    return [str(name) for name in found] if isinstance(found, list) else []
