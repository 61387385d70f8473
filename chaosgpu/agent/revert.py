# SPDX-License-Identifier: Apache-2.0
"""Put one lease back: idempotent, whoever comes first, and never `clean` without having read that it is.

Under the lease's lock: write the intent, hold the claims, end the holder, restore, read back, say how it ended.
"""

from contextlib import closing
from dataclasses import replace
from typing import Optional

from chaosgpu.agent import by_hand
from chaosgpu.agent.claims import Owner
from chaosgpu.agent.environment import from_record
from chaosgpu.agent.errors import FAULT_BROKE, PASSING, AgentError, DriverStuck, Refused, StoreFailed
from chaosgpu.agent.faults.contract import Restored
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.holding import end_holder
from chaosgpu.agent.host import Host
from chaosgpu.agent.record import ENDED, State, Undo
from chaosgpu.agent.store import Damaged

__all__ = ["revert", "settle"]


def revert(
    host: Host,
    folder: LeaseFolder,
    ended_by: str,
    reason: Optional[str] = None,
    *,
    last_try: Optional[bool] = None,
    even_stuck: bool = False,
) -> State:
    """Undo a lease that has not ended; return how it stands then.

    A failure makes it stuck, or with `last_try` false leaves it reverting for the next try. None is a verb, which has
    one try: what may pass (no descriptor, no room on the disk, a driver that is late) it leaves to keeper and sweep.
    One that is stuck is tried again with `even_stuck` only: when a person asks. Raises Refused if another process
    keeps its lock.
    """
    with folder.lock():
        state: Optional[State] = None
        try:
            state = folder.state()
            undo = folder.trusted_undo(state)
        except Damaged as error:
            return folder.damaged(error, state)
        if state is None:
            raise Refused(f"There is no lease {folder.lease} on this host.", folder.lease)
        if state.state == "stuck" and not even_stuck:
            return state
        if state.state not in ENDED:
            state = _revert(host, folder, _intend(folder, state, ended_by, reason), undo, last_try)
        if state.state in ENDED:  # also one who was killed before he could do this
            settle(host, folder, state)
    if state.state in ENDED:
        host.deadline.disarm(folder)  # outside the lock, since systemd may take its time
    return state


def settle(host: Host, folder: LeaseFolder, ended: State) -> None:
    """Give up the claims of a lease that has ended, and remove what a killed process had begun to write."""
    host.claims.release(ended.claims, Owner(host.home.path, folder.lease))
    folder.tidy()


def _revert(host: Host, folder: LeaseFolder, state: State, undo: Optional[Undo], last_try: Optional[bool]) -> State:
    host.step("reverting")
    try:
        try:
            restored = _put_back(host, folder, state, undo)
        except PASSING:  # a process that was killed, a call that failed: neither says much, once more
            restored = _put_back(host, folder, state, undo)
    except (AgentError, *FAULT_BROKE) as error:
        if last_try is None and isinstance(error, PASSING):
            return replace(state, reason=f"{str(error).rstrip('.')}. It is tried again by the host.")
        if last_try is False and not isinstance(error, DriverStuck):
            return state
        return folder.move(state, "stuck", reason=by_hand.about_failure(error))
    state = replace(state, restored=restored.values, left_alone=restored.left_alone)
    if not restored.clean:
        return folder.move(state, "stuck", reason=restored.by_hand or by_hand.NOT_AS_CAPTURED)
    ended = folder.move(state, "clean")
    host.step("clean")
    return ended


def _intend(folder: LeaseFolder, state: State, ended_by: str, reason: Optional[str]) -> State:
    if state.state == "reverting":
        return state
    ended_by = state.ended_by or ended_by
    try:
        return folder.move(state, "reverting", ended_by, reason)
    except StoreFailed:
        # A disk that takes no state any more must not keep the fault in force; the end is written, or told, later.
        return replace(state, state="reverting", ended_by=ended_by, reason=reason)


def _put_back(host: Host, folder: LeaseFolder, state: State, undo: Optional[Undo]) -> Restored:
    if undo is not None:
        # A claim that was cleaned away is taken again; one that another lease holds by now means hands off.
        host.claims.take(state.claims, Owner(host.home.path, folder.lease), lambda _: None)
        host.step("claims held")
    ended = end_holder(folder, state.holder, host.clock)
    host.step("holder ended")
    if undo is None:
        return Restored(clean=True, values={})  # nothing is touched before there is an undo record
    fault = host.fault(undo.fault)
    params = fault.parse(undo.params)
    with closing(host.new_driver(from_record(undo.environment), undo.library)) as driver:
        context = host.context(driver, folder.path)
        fault.undo(params, undo.prior, context)
        host.step("undone")
        restored = fault.restored(params, undo.prior, folder.held(state.holder), context)
    if restored.clean and not ended:
        return replace(restored, clean=False, by_hand=by_hand.about_holder(state.holder))
    return restored
