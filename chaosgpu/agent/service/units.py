# SPDX-License-Identifier: Apache-2.0
"""systemd units: stopped all together, in systemd's own order, and kept down until the return."""

from typing import Dict, List, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import Refused, Unverified
from chaosgpu.agent.faults.on_unit import systemd_of
from chaosgpu.agent.faults.unit_state import UnitState, look_at, members, pending_edits
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.gate import Gate
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget, Judged, Thing
from chaosgpu.agent.service.unit_fit import fit_units
from chaosgpu.agent.systemd import Systemd
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["Units"]

_STAYS_S = 0.5  # one that is up and gone at once is not back
_UP, _DOWN, _SHUT = "up", "down", "down, start refused"


class Units(Thing):
    """The units that a drain names."""

    kind = "units"

    def __init__(self, names: Tuple[str, ...], drill: str, desk: Desk) -> None:
        self._names, self._drill, self._desk = names, drill, desk

    def prior(self) -> JsonObject:
        """Note which are up; refuse what cannot be stopped, kept down and started again alone."""
        states = fit_units(self._names, self._desk.guarded)
        for unit in states:
            if self._gate(unit).found() is not None:
                raise Refused(f"{self._gate(unit).path} is there, and no drain is recorded: remove it, then reload.")
        return {"units": [self._noted(state) for state in states.values()]}

    def shown(self, taken: Taken) -> Dict[str, str]:
        """Say of each whether it is up, and whether it could start."""
        systemd = systemd_of(self._desk.context)
        return {f"unit {unit}": self._word(look_at(systemd, unit)) for unit in _by_name(taken)}

    def drained(self, taken: Taken) -> Dict[str, str]:
        """Say that all are down and stay so; a masked one stays as it is."""
        return {f"unit {unit}": _DOWN if prior["masked"] else _SHUT for unit, prior in _by_name(taken).items()}

    def take(self, taken: Taken, budget: Budget) -> None:
        """Shut the gates first, so that none comes up again behind us; then stop what is up."""
        systemd = systemd_of(self._desk.context)
        ours = [unit for unit, prior in _by_name(taken).items() if not prior["masked"]]
        gates = [self._gate(unit) for unit in ours]
        for gate in gates:
            if not gate.shut:
                gate.close()
                self._desk.step(f"shut {gate.unit}")
        if any(gate.path not in look_at(systemd, gate.unit).words("DropInPaths") for gate in gates):
            systemd.reload()
            self._desk.step("reloaded")
        up = [unit for unit in ours if not _gone(look_at(systemd, unit))]
        if up:
            systemd.ask("stop", "--no-block", "--", *up)
            self._desk.step("stopping units")
        if not budget.wait(lambda: all(_gone(look_at(systemd, unit)) for unit in up)):
            left = [f"{unit} ({look_at(systemd, unit).text('ActiveState')})" for unit in up]
            raise Unverified(f"These units did not stop within {budget.within_s:g} s: {', '.join(left)}.")

    def judge(self, taken: Taken) -> Judged:
        """Start what was up and has been down since, and nobody else has had a hand in."""
        systemd = systemd_of(self._desk.context)
        start: List[JsonValue] = []
        after: Dict[str, str] = {}
        left: List[str] = []
        for unit, prior in _by_name(taken).items():
            state = look_at(systemd, unit)
            said = self._others_hand(state, prior)
            if said:
                left.append(f"{unit} {said}; it was left so")
            elif prior["up"] and not _settled_up(state):  # down, or on its way there by our hand
                start.append(unit)
                if taken.stage == "taken" and self._gate(unit).found() is None:
                    left.append(f"{self._gate(unit).path} was removed by somebody; {unit} is started all the same")
            file = state.text("UnitFileState")
            if file != prior["file"] and state.text("LoadState") == "loaded":
                left.append(f"{unit} is {file} now and was {prior['file']}; that was left so")
            kept = self._word(state) if self._gate(unit).changed else self._word(state, without_gate=True)
            after[f"unit {unit}"] = _UP if unit in start else kept
        return Judged({"start": start}, after, left)

    def put_back(self, taken: Taken, budget: Budget) -> List[str]:
        """Open the gates, then start what is to be started and see it stay up."""
        systemd = systemd_of(self._desk.context)
        units = [*_by_name(taken)]
        for unit in units:
            if self._gate(unit).shut:
                self._gate(unit).open()
                self._desk.step(f"opened {unit}")
        said = self._reload(units, systemd)
        planned = taken.plan.get("start")
        start = [str(unit) for unit in planned] if isinstance(planned, list) else []
        down = [unit for unit in start if not _settled_up(look_at(systemd, unit))]
        failed = [unit for unit in down if look_at(systemd, unit).failed]
        if failed:
            systemd.ask("reset-failed", "--", *failed)
        if down:
            systemd.ask("start", "--no-block", "--", *down)
            self._desk.step("starting units")
        if not budget.wait(lambda: all(_settled_up(look_at(systemd, unit)) for unit in start)):
            self._not_back(start, systemd, budget)
        if down:
            budget.clock.sleep(_STAYS_S)
            self._not_back(start, systemd, budget)
        return said

    @staticmethod
    def _noted(state: UnitState) -> JsonObject:
        return {
            "unit": state.id,
            "up": state.active,
            "masked": state.text("LoadState") == "masked",
            "file": state.text("UnitFileState"),
            "invocation": state.text("InvocationID"),
        }

    def _gate(self, unit: str) -> Gate:
        return Gate(unit, self._drill, self._desk.units)

    def _word(self, state: UnitState, *, without_gate: bool = False) -> str:
        word = _UP if state.active else _DOWN if state.down else state.text("ActiveState")
        return word if without_gate or not self._gate(state.id).shut else f"{word}, start refused"

    def _others_hand(self, state: UnitState, prior: JsonObject) -> str:
        """Say what somebody has done to it meanwhile; empty where nobody has."""
        load, same = state.text("LoadState"), state.text("InvocationID") in ("", prior["invocation"])
        if prior["masked"]:
            return ""
        if load != "loaded":
            return f"is {load} now"
        if self._gate(state.id).changed:
            return f"has {self._gate(state.id).path} changed by somebody"
        if same or (not prior["up"] and state.down):
            return ""
        return "was started by somebody meanwhile" if not state.down else "was started meanwhile and is down again"

    def _reload(self, units: List[str], systemd: Systemd) -> List[str]:
        """Have systemd forget the gates, but not learn of others' edits by it."""
        edited = pending_edits(systemd)
        others = sorted(set(edited) - set(units))
        if others:
            return [f"others' changes of {', '.join(others[:5])} are not loaded: no daemon-reload was done"]
        if edited:
            systemd.reload()
            self._desk.step("reloaded")
        return []

    @staticmethod
    def _not_back(units: List[str], systemd: Systemd, budget: Budget) -> None:
        """Raise where one is not up."""
        states = {unit: look_at(systemd, unit) for unit in units}
        shown = [
            f"{unit} ({state.text('ActiveState')}, {state.text('Result')})"
            for unit, state in states.items()
            if not _settled_up(state)
        ]
        if shown:
            raise Unverified(
                f"These units are not up within {budget.within_s:g} s: {', '.join(shown)}. See `journalctl -u` of each."
            )


def _by_name(taken: Taken) -> Dict[str, JsonObject]:
    found = taken.prior.get("units")
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return {values.text(one, "unit"): one for one in entries}


def _gone(state: UnitState) -> bool:
    """Tell whether it is down and nobody is left in its control group."""
    return state.down and not state.has_job and not members(state)


def _settled_up(state: UnitState) -> bool:
    return state.active and not state.has_job
