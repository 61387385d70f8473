# SPDX-License-Identifier: Apache-2.0
"""Apply: the order of steps in which whoever dies, and whenever, leaves nothing that is not undone.

parse, check, reserve, claim, capture, undo record, gated holder, its pid on disk, keeper, then the fault, then proof.
The lease's lock is held while something changes and not while we wait, so that undo and halt get in between.
"""

from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent import guard, halt
from chaosgpu.agent.claims import Owner, keys
from chaosgpu.agent.environment import environment_to_hand_on
from chaosgpu.agent.errors import AgentError, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.holding import GatedHolder, first_report, start_holder
from chaosgpu.agent.host import AnyFault, Host
from chaosgpu.agent.mend import mend
from chaosgpu.agent.noted_driver import NotedDriver, simulator_of
from chaosgpu.agent.order import Order
from chaosgpu.agent.process import end_group
from chaosgpu.agent.record import State, Undo
from chaosgpu.agent.revert import FAULT_BROKE, revert
from chaosgpu.agent.start import StartAt
from chaosgpu.agent.stops.begin import begin
from chaosgpu.agent.values import JsonObject

__all__ = ["apply"]

_OTHER_APPLY_WITHIN_S = 60.0
_STEP_S = 0.01


def apply(host: Host, order: Order) -> State:
    """Put one fault in and prove it; return the active lease, or raise with the host as it was."""
    fault = host.fault(order.fault)
    params = fault.parse(order.params)
    folder = host.folder(order.lease)
    start = StartAt.parse(host.clock, order)
    existing = _existing(host, folder, order)
    if existing is not None:
        return existing
    policy = guard.allow(host, order.fault, order.max_duration_s)
    driver = NotedDriver(host.new_driver())
    try:
        context = host.context(driver, folder.path, policy.protected_units)
        named = fault.claims(params, context)
        library = driver.library(named)
        guard.allow_claims(host, policy, named, library)
        claims = keys(named, simulator_of(library))
        owner = Owner(host.home.path, folder.lease)
        # Before the check: what another lease did, perhaps one that is over, must not be taken for the host's own.
        host.claims.refuse_held(claims, owner, lambda other: _mend_ours(host, other))
        fault.check(params, context)
        order = replace(order, stop_when=begin(host, order.stop_when, driver))
        folder.make()
        with folder.apply_lock():
            if not _reserve(host, folder, order, claims):
                raise Refused(f"Lease {order.lease} is being applied by another process.", order.lease)
            return _Applying(host, folder, order, fault, params, context, driver).run(claims, start)
    finally:
        driver.close()


def _existing(host: Host, folder: LeaseFolder, order: Order) -> Optional[State]:
    """Return the lease that an earlier apply with this id made; refuse an id that is used up or somebody else's."""
    state = folder.seen()
    until_s = host.clock.boottime_s() + _OTHER_APPLY_WITHIN_S
    while state is not None and state.state in ("reserved", "armed") and host.clock.boottime_s() < until_s:
        if not folder.being_applied():
            state = mend(host, folder)
            break
        host.clock.sleep(_STEP_S)
        state = folder.seen()
    if state is None:
        return None
    if state.state == "tombstone":
        raise Refused(f"Lease {order.lease} was undone before it arrived, so it is not applied.", order.lease)
    if state.state == "active" and state.request_sha256 == order.sha256:
        return state
    if state.request_sha256 != order.sha256:
        raise Refused(f"Lease {order.lease} exists with other parameters: use a new id.", order.lease)
    reason = f" ({state.reason})" if state.reason else ""
    raise Refused(f"Lease {order.lease} is {state.state}{reason} and is never applied again.", order.lease)


def _mend_ours(host: Host, owner: Owner) -> None:
    if owner.home == host.home.path:
        mend(host, host.folder(owner.lease))


def _reserve(host: Host, folder: LeaseFolder, order: Order, claims: Tuple[str, ...]) -> bool:
    with folder.lock():
        if folder.seen() is not None:
            return False
        now_s = host.clock.boottime_s()
        state = State(
            state="reserved",
            fault=order.fault,
            run=order.run,
            request_sha256=order.sha256,
            operator=host.operator,
            claims=claims,
            boot=host.boot,
            deadline_s=now_s + order.ttl_s,
            end_s=now_s + order.max_duration_s,
        )
        folder.create(folder.stamped(state))
        host.step("reserved")
        return True


@dataclass
class _Applying:
    """One apply under way, from the reservation to the proof."""

    host: Host
    folder: LeaseFolder
    order: Order
    fault: AnyFault
    params: object
    context: Context
    driver: NotedDriver
    holder: Optional[GatedHolder] = None
    touched: bool = False
    skew_s: Optional[float] = None

    def run(self, claims: Tuple[str, ...], start: StartAt) -> State:
        """Go through the steps; whatever fails, what was begun is put back before the error is told."""
        try:
            prior = self._prepare(claims)
            start.wait(self.host.clock, lambda: self._now("armed"))
            self._inject(prior, start)
            return self._prove(prior)
        except (AgentError, *FAULT_BROKE) as error:
            if self.holder is not None:
                self.holder.close()
                end_group(self.holder.identity, self.host.clock.sleep)
            raise self._given_up(error) from error

    def _prepare(self, claims: Tuple[str, ...]) -> JsonObject:
        host, folder = self.host, self.folder
        owner = Owner(host.home.path, folder.lease)
        self._advance("reserved", lambda state: self._take(state, owner))
        host.step("claimed")
        prior = self.fault.capture(self.params, self.context)
        plan = self.fault.holder(self.params, prior)
        host.step("captured")
        environment = environment_to_hand_on(host.environment)
        recorded: JsonObject = dict(environment)
        library = self.driver.library(claims)
        order = self.order
        undo = Undo(
            folder.lease, order.fault, order.params, prior, plan is not None, recorded, library, order.stop_when
        )
        folder.write_undo(undo)
        host.step("undo written")
        see_armed = host.deadline.arm(folder, environment)
        if plan is not None:
            folder.forget_report()
            self.holder = start_holder(host.command, folder, plan, environment, host.clock, own_unit=self._own_unit)
            host.step("holder ready")
            who = self.holder.identity
            self._advance("reserved", lambda state: folder.save_same(replace(state, holder=who)))
            host.step("holder recorded")
        see_armed()
        host.step("deadline armed")
        self._advance("reserved", lambda state: folder.move(state, "armed"))
        host.step("armed")
        return prior

    def _own_unit(
        self, words: Sequence[str], environment: Mapping[str, str]
    ) -> Tuple[Sequence[str], Mapping[str, str]]:
        return self.host.deadline.own_unit(self.folder, words, environment, self.order.max_duration_s)

    def _take(self, state: State, owner: Owner) -> State:
        self.host.claims.take(state.claims, owner, lambda other: _mend_ours(self.host, other))
        return state

    def _inject(self, prior: JsonObject, start: StartAt) -> None:
        def change(state: State) -> State:
            halt.refuse_if_latched(self.host)
            if state.over(self.host.boot, self.host.clock.boottime_s()):
                raise Refused("The lease's time was over before everything was prepared: give it a longer ttl_s.")
            self.touched = True
            self.skew_s = start.skew_s(self.host.clock)
            self.fault.inject(self.params, prior, self.context)
            self.host.step("injected")
            if self.holder is not None:
                self.holder.let_go()
                self.host.step("let go")
            return state

        self._advance("armed", change)

    def _prove(self, prior: JsonObject) -> State:
        who = None if self.holder is None else self.holder.identity
        if who is not None:
            first_report(self.folder, who, self.host.clock)
        observed = self.fault.verify(self.params, prior, self.folder.held(who), self.context)
        self.host.step("verified")
        active = self._advance("armed", self._activate(observed))
        self.host.step("active")
        return active

    def _activate(self, observed: JsonObject) -> Callable[[State], State]:
        return lambda state: self.folder.move(state, "active", observed=observed, skew_s=self.skew_s)

    def _advance(self, expected: str, move: Callable[[State], State]) -> State:
        """Do the next step under the lock, only if nobody has ended the lease meanwhile."""
        with self.folder.lock():
            return move(self._now(expected))

    def _now(self, expected: str) -> State:
        state = self.folder.state()
        if state is None or state.state != expected:
            by = "somebody" if state is None else state.ended_by
            raise Refused(f"The lease was ended by {by} while it was being applied.", self.folder.lease)
        return state

    def _given_up(self, error: BaseException) -> AgentError:
        """Put back what was begun and return the error to tell, with how that ended."""
        known = (
            error
            if isinstance(error, AgentError)
            else AgentError(f"The fault {self.order.fault} broke: {type(error).__name__}: {error}. Please report it.")
        )
        ended_by = "unverified" if self.touched else "refused"
        try:
            state = revert(self.host, self.folder, ended_by, str(known))
        except AgentError as busy:
            state = self.folder.seen() or State("reverting", reason=str(busy))
        known.lease = self.folder.lease
        if state.state != "clean":
            known.args = (f"{known} Its undo is {state.state}: {state.reason}",)
        return known
