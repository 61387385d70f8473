# SPDX-License-Identifier: Apache-2.0
"""Put one lease back: idempotent, whoever comes first, and never `clean` without having read that it is.

Under the lease's lock: write the intent, hold the claims, end the holder, restore, read back, say how it ended.
"""

from dataclasses import replace
from typing import Optional

from chaosgpu.agent.claims import Owner
from chaosgpu.agent.environment import from_record
from chaosgpu.agent.errors import AgentError, Claimed, DriverDied, DriverHung, Refused, StoreFailed
from chaosgpu.agent.faults.contract import Restored
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.holding import end_holder
from chaosgpu.agent.host import Host
from chaosgpu.agent.record import ENDED, State, Undo
from chaosgpu.agent.store import Damaged

__all__ = ["FAULT_BROKE", "revert"]

# What a fault with a mistake in it may raise; it must not keep the other leases from being put back.
FAULT_BROKE = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def revert(
    host: Host,
    folder: LeaseFolder,
    ended_by: str,
    reason: Optional[str] = None,
    *,
    last_try: bool = True,
    even_stuck: bool = False,
) -> State:
    """Undo a lease that has not ended; return how it stands then.

    A failure makes it stuck, or with `last_try` false leaves it reverting for the next try. One that is stuck is
    tried again with `even_stuck` only: when a person asks. Raises Refused if another process keeps its lock.
    """
    with folder.lock():
        state = _revert(host, folder, ended_by, reason, last_try=last_try, even_stuck=even_stuck)
    if state.state in ENDED:
        host.deadline.disarm(folder)  # outside the lock, since systemd may take its time
    return state


def _revert(
    host: Host, folder: LeaseFolder, ended_by: str, reason: Optional[str], *, last_try: bool, even_stuck: bool
) -> State:
    state: Optional[State] = None
    try:
        state = folder.state()
        undo = folder.undo_record()
    except Damaged as error:
        return folder.damaged(error, state)
    if state is None:
        raise Refused(f"There is no lease {folder.lease} on this host.", folder.lease)
    if state.state in ENDED:
        host.claims.release(state.claims, Owner(host.home.path, folder.lease))  # one was killed before he could
        return state
    if state.state == "stuck" and not even_stuck:
        return state
    if undo is None and state.state not in ("reserved", "reverting", "stuck"):
        return folder.damaged(Damaged(f"The undo record of lease {folder.lease} is gone."), state)
    if state.state != "reverting":
        state = _intend(folder, state, state.ended_by or ended_by, reason)
    host.step("reverting")
    try:
        try:
            restored = _put_back(host, folder, state, undo)
        except DriverDied:  # somebody killed its process, which says nothing about the driver: ask a new one, once
            restored = _put_back(host, folder, state, undo)
    except (AgentError, *FAULT_BROKE) as error:
        if not last_try and not isinstance(error, DriverHung):
            return state
        return folder.move(state, "stuck", reason=_stuck_because(error))
    return _close(host, folder, state, restored)


def _intend(folder: LeaseFolder, state: State, ended_by: str, reason: Optional[str]) -> State:
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
    environment = from_record(undo.environment)
    driver = host.new_driver(environment, undo.library)
    try:
        context = host.context(driver, folder.path)
        fault.undo(params, undo.prior, context)
        host.step("undone")
        restored = fault.restored(params, undo.prior, folder.held(state.holder), context)
    finally:
        driver.close()
    if restored.clean and not ended:
        by_hand = f"The holder process {state.holder} does not end; see `ps` for its state, it may be in the driver."
        return Restored(clean=False, values=restored.values, left_alone=restored.left_alone, by_hand=by_hand)
    return restored


def _close(host: Host, folder: LeaseFolder, state: State, restored: Restored) -> State:
    state = replace(state, restored=restored.values, left_alone=restored.left_alone)
    if not restored.clean:
        reason = restored.by_hand or "What was read back is not what was captured; put it back by hand."
        return folder.move(state, "stuck", reason=reason)
    ended = folder.move(state, "clean")
    host.step("clean")
    host.claims.release(state.claims, Owner(host.home.path, folder.lease))
    folder.tidy()
    return ended


def _stuck_because(error: BaseException) -> str:
    what = str(error) if isinstance(error, AgentError) else f"the undo broke: {type(error).__name__}: {error}."
    if isinstance(error, Claimed):
        what = f"Its own claim is held by another lease meanwhile, so nothing was put back. {what}"
    return f"{what} When the cause is gone, undo again; else put back by hand what `record` shows as prior."
