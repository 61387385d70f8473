# SPDX-License-Identifier: Apache-2.0
"""unit.freeze: a whole unit stands still through the kernel's freezer, while its sockets go on accepting."""

from dataclasses import replace
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import NoEffect, Refused, StoreFailed, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import wait_until
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_life import BACK_WITHIN_S, Before, Life, mark, marked, note
from chaosgpu.agent.faults.unit_state import UnitState, group_folder, members
from chaosgpu.agent.values import JsonMapping, JsonObject

INTERVAL_S = 0.5
MOST_CPU_US = 1000  # what the kernel may still book of the moment before
WITHIN_S = 5.0
_FROZEN, _THAWED = "frozen", "thawed"


class UnitFreeze(Fault[OnUnit]):
    """A hang of one service."""

    name = "unit.freeze"
    summary = "Freezes every process of a systemd service: it hangs, and its ports go on accepting."
    plane = "effect"
    tier = "T1"
    fidelity = "exact"
    privilege = "root"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active, has no process or is frozen already; one with WatchdogSec=, which systemd would "
        "kill for standing still; a host without the unified hierarchy or a systemd that cannot freeze (before 246); "
        "the host's own and protected units"
    )
    traps = (
        "A frozen service cannot be stopped in an orderly way: where systemd does not thaw it first, a stop waits for "
        "TimeoutStopSec= and then kills. The undo thaws first, whatever else is to do. It survives a daemon-reload. "
        "Who stops or kills the unit meanwhile ends the fault; a stop is left alone and reported. Peers with timeouts "
        "may drop its connections, and kernels that were launched run to their end."
    )

    def parse(self, raw: JsonMapping) -> OnUnit:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS)
        return OnUnit(parse_unit(raw))

    def check(self, params: OnUnit, context: Context) -> None:
        """Refuse what is still already, what systemd cannot freeze, and what it would kill for it."""
        state = unit_of(params, context)
        if not state.active or not members(state):
            raise NoEffect(f"{state.id} is {state.text('ActiveState')} and has no process: there is nothing to freeze.")
        folder = group_folder(state)
        if state.frozen or _kernel_says(folder, "cgroup.freeze", "1"):
            raise NoEffect(f"{state.id} is frozen already: nothing would change.")
        if state.text("CanFreeze") != "yes":
            raise Refused(f"systemd says that it cannot freeze {state.id} on this host; nothing was touched.")
        if state.text("WatchdogUSec") not in ("", "0", "infinity"):
            raise Refused(
                f"{state.id} has WatchdogSec={state.text('WatchdogUSec')}: systemd would kill it for standing still, "
                "which is another fault. Use unit.kill, or take the watchdog away for the drill."
            )

    def claims(self, params: OnUnit, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: OnUnit, context: Context) -> JsonObject:
        """Note which start of it this is."""
        return Before.of(unit_of(params, context)).to_json()

    def inject(self, params: OnUnit, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Freeze it; systemd answers when it stands still."""
        mark(context, _FROZEN)
        systemd_of(context).ask("freeze", "--", values.text(prior, "unit"))

    def verify(self, params: OnUnit, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See that systemd and the kernel call it frozen, and that it uses no time."""
        life = _life(prior, context)
        state = life.now()
        folder = group_folder(state)
        used_us = _cpu_us(folder)
        context.clock.sleep(INTERVAL_S)
        grew_us = _cpu_us(folder) - used_us
        by_systemd, by_kernel = life.now().text("FreezerState"), _kernel_says(folder, "cgroup.events", "frozen 1")
        if by_systemd != "frozen" or not by_kernel or grew_us > MOST_CPU_US:
            raise Unverified(
                f"systemd was told to freeze {state.id} and calls it {by_systemd or 'nothing'}, the kernel "
                f"{'frozen' if by_kernel else 'not frozen'}, and it used {grew_us} µs in {INTERVAL_S:g} s."
            )
        pids = [who.pid for who in members(state)]
        return {"freezer_state": by_systemd, "frozen_pids": [*pids], "cpu_us": grew_us}

    def undo(self, params: OnUnit, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Thaw it, before anything else; then bring it back if it was killed for standing still."""
        life = _life(prior, context)
        state = life.now()
        if _stands_still(state):
            note(context, _THAWED)
            life.systemd.ask("thaw", "--", state.id)
            if not wait_until(lambda: not _stands_still(life.now()), WITHIN_S / 2, 0.05, context):
                _thaw_by_the_kernel(life.now())  # systemd has forgotten that it is frozen
        if marked(context, _FROZEN):
            life.revive()

    def restored(self, params: OnUnit, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See it run, or down by somebody else's hand."""
        life = _life(prior, context)
        still = not wait_until(lambda: not _stands_still(life.now()), WITHIN_S, 0.05, context)
        state = life.now()
        shown: JsonObject = {"freezer_state": state.text("FreezerState"), "active_state": state.text("ActiveState")}
        if still or not marked(context, _FROZEN):
            by_hand = f"{state.id} is still frozen: `systemctl thaw {state.id}`." if still else ""
            return Restored(clean=not still, values=shown, by_hand=by_hand)
        settled = life.settled()
        if settled.clean and not settled.left_alone and not marked(context, _THAWED):
            said = f"{state.id} was thawed, or started anew, by somebody meanwhile"
            return replace(settled, left_alone=(said,))
        return settled


def _life(prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), BACK_WITHIN_S, systemd_of(context), context)


def _stands_still(state: UnitState) -> bool:
    """Tell whether systemd or the kernel holds it; one without processes stands for nothing."""
    if state.frozen:
        return True
    return bool(members(state)) and _kernel_says(group_folder(state), "cgroup.freeze", "1")


def _kernel_says(folder: str, name: str, line: str) -> bool:
    return line in _read(f"{folder}/{name}").splitlines()


def _cpu_us(folder: str) -> int:
    for line in _read(f"{folder}/cpu.stat").splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1])
    raise Unverified(f"{folder}/cpu.stat does not tell the time that the unit has used, so it cannot be seen to stand.")


def _thaw_by_the_kernel(state: UnitState) -> None:
    path = f"{group_folder(state)}/cgroup.freeze"
    try:
        with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            file.write("0")
    except OSError as error:
        raise StoreFailed(f"{path} cannot be written: {error.strerror}.") from error


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 (as above)
            return file.read()
    except OSError:
        return ""
