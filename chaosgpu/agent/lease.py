# SPDX-License-Identifier: Apache-2.0
"""Apply: the order of steps in which whoever dies, and whenever, leaves nothing that is not undone.

parse, check, reserve, claim, capture, undo record, gated holder, its pid on disk, keeper, then the fault, then proof.
The lease's lock is held while something changes and not while we wait, so that undo and halt get in between.
"""

from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Iterator, Optional, Tuple

from chaosgpu.agent import guard, halt
from chaosgpu.agent.claims import Owner, keys
from chaosgpu.agent.environment import environment_to_hand_on
from chaosgpu.agent.errors import FAULT_BROKE, AgentError, Refused, as_agent_error
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.holding import GatedHolder, first_report, start_holder
from chaosgpu.agent.host import AnyFault, Host
from chaosgpu.agent.mend import mend_ours
from chaosgpu.agent.noted_driver import NotedDriver, simulator_of
from chaosgpu.agent.order import Order
from chaosgpu.agent.process import end_group
from chaosgpu.agent.record import State, Undo
from chaosgpu.agent.repeat import repeated
from chaosgpu.agent.revert import revert
from chaosgpu.agent.start import StartAt
from chaosgpu.agent.stops.begin import begin
from chaosgpu.agent.values import JsonObject

__all__ = ["apply"]


def apply(host: Host, order: Order) -> State:
    """Put one fault in and prove it; return the active lease, or raise with the host as it was."""
    fault = host.fault(order.fault)
    params = fault.parse(order.params)
    folder = host.folder(order.lease)
    start = StartAt.parse(host.clock, order)
    existing = repeated(host, folder, order)
    if existing is not None:
        return existing
    policy, granted = guard.allow(host, order)
    with closing(NotedDriver(host.new_driver())) as driver:
        context = host.context(driver, folder.path, policy.protected_units)
        named = fault.claims(params, context)
        library = driver.library(named)
        guard.allow_claims(host, policy, named, library)
        claims = keys(named, simulator_of(library))
        # Before the check: what another lease did, perhaps one that is over, must not be taken for the host's own.
        host.claims.refuse_held(claims, Owner(host.home.path, folder.lease), partial(mend_ours, host))
        fault.check(params, context)
        order = replace(order, stop_when=begin(host, order.stop_when, driver), granted=granted)
        folder.make()
        with folder.apply_lock():
            _reserve(host, folder, order, claims)
            return _Applying(host, folder, order, fault, params, context, driver).run(start)


def _reserve(host: Host, folder: LeaseFolder, order: Order, claims: Tuple[str, ...]) -> None:
    with folder.lock():
        if folder.seen() is not None:
            raise Refused(f"Lease {order.lease} is being applied by another process.", order.lease)
        now_s = host.clock.boottime_s()
        state = State(
            state="reserved",
            fault=order.fault,
            run=order.run,
            request_sha256=order.sha256,
            operator=host.operator,
            granted=order.granted,
            claims=claims,
            boot=host.boot,
            deadline_s=now_s + order.ttl_s,
            end_s=now_s + order.max_duration_s,
        )
        folder.create(folder.stamped(state))
        host.step("reserved")


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

    def run(self, start: StartAt) -> State:
        """Go through the steps; whatever fails, what was begun is put back before the error is told."""
        try:
            prior = self._prepare()
            start.wait(self.host.clock, lambda: self._now("armed"))
            skew_s = self._inject(prior, start)
            return self._prove(prior, skew_s)
        except (AgentError, *FAULT_BROKE) as error:
            raise self._given_up(error) from error

    def _prepare(self) -> JsonObject:
        host, folder, order = self.host, self.folder, self.order
        with self._still("reserved") as state:
            host.claims.take(state.claims, Owner(host.home.path, folder.lease), partial(mend_ours, host))
        host.step("claimed")
        prior = self.fault.capture(self.params, self.context)
        plan = self.fault.holder(self.params, prior)
        host.step("captured")
        environment = environment_to_hand_on(host.environment)
        library = self.driver.library(state.claims)
        recorded: JsonObject = {**environment}
        undo = Undo(
            folder.lease, order.fault, order.params, prior, plan is not None, recorded, library, order.stop_when
        )
        folder.write_undo(undo)
        host.step("undo written")
        see_armed = host.deadline.arm(folder, environment)
        if plan is not None:
            folder.forget_report()
            own_unit = partial(host.deadline.own_unit, folder, lasts_s=order.max_duration_s)
            self.holder = start_holder(host.command, folder, plan, environment, host.clock, own_unit=own_unit)
            host.step("holder ready")
            with self._still("reserved") as state:
                folder.save(replace(state, holder=self.holder.identity))
            host.step("holder recorded")
        see_armed()
        host.step("deadline armed")
        with self._still("reserved") as state:
            folder.move(state, "armed")
        host.step("armed")
        return prior

    def _inject(self, prior: JsonObject, start: StartAt) -> Optional[float]:
        with self._still("armed") as state:
            halt.refuse_if_latched(self.host)
            if state.over(self.host.boot, self.host.clock.boottime_s()):
                raise Refused("The lease's time was over before everything was prepared: give it a longer ttl_s.")
            self.touched = True
            skew_s = start.skew_s(self.host.clock)
            self.fault.inject(self.params, prior, self.context)
            self.host.step("injected")
            if self.holder is not None:
                self.holder.let_go()
                self.host.step("let go")
        return skew_s

    def _prove(self, prior: JsonObject, skew_s: Optional[float]) -> State:
        who = None if self.holder is None else self.holder.identity
        first_report(self.folder, who, self.host.clock)
        observed = self.fault.verify(self.params, prior, self.folder.held(who), self.context)
        self.host.step("verified")
        with self._still("armed") as state:
            active = self.folder.move(state, "active", observed=observed, skew_s=skew_s)
        self.host.step("active")
        return active

    @contextmanager
    def _still(self, expected: str) -> Iterator[State]:
        """Hold the lock for the next step, which is only done if nobody has ended the lease meanwhile."""
        with self.folder.lock():
            yield self._now(expected)

    def _now(self, expected: str) -> State:
        state = self.folder.state()
        if state is None or state.state != expected:
            by = "somebody" if state is None else state.ended_by
            raise Refused(f"The lease was ended by {by} while it was being applied.", self.folder.lease)
        return state

    def _given_up(self, error: BaseException) -> AgentError:
        """Put back what was begun and return the error to tell, with how that ended."""
        known = as_agent_error(error, f"The fault {self.order.fault}")
        try:
            if self.holder is not None:
                self.holder.close()
                end_group(self.holder.identity, self.host.clock.sleep)
            state = revert(self.host, self.folder, "unverified" if self.touched else "refused", str(known))
            left = "" if state.state == "clean" else f" Its undo is {state.state}: {state.reason}"
        except AgentError as busy:
            left = f" Its undo is left to the host: {busy}"
        known.lease = self.folder.lease
        known.args = (f"{known}{left}",)
        return known
