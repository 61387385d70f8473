# SPDX-License-Identifier: Apache-2.0
"""Ask the hosts to put a fault in, and settle each answer: in force and recorded, refused, or asked to be undone."""

import logging
from collections.abc import Sequence

from chaosgpu.errors import (
    AgentFailed,
    BadArgument,
    ChaosGpuError,
    FaultUnverified,
    LedgerBroken,
    NotReached,
    Refused,
    Unreachable,
)
from chaosgpu.fleet.ask import Question
from chaosgpu.fleet.values import JsonObject, number, optional_text, text, whole_object
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import active_line
from chaosgpu.lease.order import Order
from chaosgpu.lease.run import Run
from chaosgpu.lease.undo import undo_leases, undo_one

__all__ = ["UNDO_S", "PutIn"]

logger = logging.getLogger("chaostoolkit")

UNDO_S = 30.0


class PutIn:
    """What the hosts are asked, and how each one's answer is settled; one fault on all of them."""

    def __init__(self, run: Run, orders: Sequence[Order]) -> None:
        self._run = run
        self.orders = orders
        # A host whose lease would not be renewed is not asked.
        self._answers: dict[str, JsonObject | ChaosGpuError] = {}
        self._ready = [order for order in orders if self._held(order)]

    def questions(self) -> list[Question]:
        """Return what each host is asked: to put it in."""
        return [Question(one.host, "apply", _request(self._run, one), one.within_s) for one in self._ready]

    def settled(self, said: Sequence[JsonObject | ChaosGpuError]) -> dict[str, JsonObject | ChaosGpuError]:
        """Settle whatever came back but a lease in force, and return what each host has now."""
        run, orders = self._run, self.orders
        self._answers |= {order.lease: one for order, one in zip(self._ready, said, strict=True)}
        judged = [_judged(run, order, self._answers[order.lease]) for order in orders]
        unsettled = [
            lease for order in orders if (lease := run.book.get(order.lease)) and lease.open and not lease.in_force
        ]
        if unsettled:  # a lost reply is no lost lease, and a late apply is barred by its tombstone
            undo_leases(run, unsettled, min(UNDO_S, max(orders[0].timeout_s, 1.0)), "no answer")
        run.looked_s = run.names.monotonic()
        return {
            order.host: _with_place(run, order, one) if isinstance(one, ChaosGpuError) else one
            for order, one in zip(orders, judged, strict=True)
        }

    def _held(self, order: Order) -> bool:
        """Renew its lease from now on, where it is to be renewed."""
        try:
            if order.way is not None:
                self._run.renewal.hold(order.lease, order.way)
        except Refused as error:
            self._answers[order.lease] = error
            return False
        return True


def _request(run: Run, order: Order) -> JsonObject:
    request: JsonObject = {
        "lease": order.lease,
        "fault": order.fault,
        "params": order.params,
        "ttl_s": order.ttl_s,
        "max_duration_s": order.longest_s,
        "run": run.id,
    }
    if order.start is not None:
        request["inject_at"] = order.start.inject_at_s
    if run.stop_when is not None:
        request["stop_when"] = run.stop_when
    if run.approval:
        request["approval"] = run.approval
    return request


def _judged(run: Run, order: Order, answer: JsonObject | ChaosGpuError) -> JsonObject | ChaosGpuError:
    """Note in book and ledger what a host answered; what is not settled by it stays open in the book."""
    if isinstance(answer, (Refused, BadArgument, NotReached)):
        run.renewal.drop(order.lease)
        run.book.change(order.lease, state="refused", reason=str(answer))
        run.note("lease.refused", lease=order.lease, host=order.host, fault=order.fault, reason=str(answer))
        return answer
    if isinstance(answer, FaultUnverified):
        return _unverified(run, order, answer)
    if isinstance(answer, ChaosGpuError):
        return answer
    try:
        return _record(run, order, answer)
    except ChaosGpuError as error:
        return error


def _with_place(run: Run, order: Order, error: ChaosGpuError) -> ChaosGpuError:
    """Add to an error that leaves open where the lease is, where it is now."""
    if isinstance(error, (Refused, BadArgument, NotReached, FaultUnverified, LedgerBroken)):
        return error
    said = f"{error} {_where(run, order)}"
    return AgentFailed(said, error.kind) if isinstance(error, AgentFailed) else Unreachable(said)


def _record(run: Run, order: Order, answer: JsonObject) -> JsonObject | ChaosGpuError:
    """Write what was observed and return it; a lease that cannot be recorded, or shows nothing, is undone."""
    state, observed = text(answer, "state"), whole_object(answer, "observed")
    expires_in_s = number(answer, "expires_in_s")
    if state != "active" or not observed:
        error = FaultUnverified(
            f"{order.host}: the agent says that {order.fault} is {state} and observed {observed or 'nothing'}; "
            "a fault that nobody has seen is none, so it was undone.",
            "unverified",
        )
        return _unverified(run, order, error)
    lease = run.book.put(
        Lease(
            order.lease,
            order.host,
            order.fault,
            "active",
            observed=observed,
            expires_at_s=run.names.monotonic() + (order.ttl_s if expires_in_s is None else expires_in_s),
            was_active=True,
        )
    )
    try:
        run.ledger.append(
            "lease.active",
            lease=lease.lease,
            host=lease.host,
            fault=lease.fault,
            observed=observed,
            prior=answer.get("prior"),
            claims=answer.get("claims"),
            plane=optional_text(answer, "plane"),
            tier=optional_text(answer, "tier"),
            fidelity=optional_text(answer, "fidelity"),
            expires_in_s=expires_in_s,
            boottime_s=number(answer, "boottime_s"),
            inject_skew_s=number(answer, "inject_skew_s"),
            **({"granted": answer["granted"]} if answer.get("granted") else {}),
        )
    except LedgerBroken as error:
        run.lacks(str(error))
        undo_one(run, lease, UNDO_S, "record broken")
        raise LedgerBroken(f"{error} {_where(run, order)}") from error
    logger.info(active_line(lease, expires_in_s, None if order.way is None else order.longest_s))
    return {
        "host": lease.host,
        "lease": lease.lease,
        "fault": lease.fault,
        "observed": observed,
        "expires_in_s": expires_in_s,
        **({} if order.start is None else {"inject_skew_s": number(answer, "inject_skew_s")}),
    }


def _unverified(run: Run, order: Order, error: FaultUnverified) -> FaultUnverified:
    """Note that nothing was proved; the lease stays open until the host was asked to undo it."""
    run.book.change(order.lease, unverified=True, reason=str(error))
    run.note("fault.unverified", lease=order.lease, host=order.host, fault=order.fault, reason=str(error))
    return error


def _where(run: Run, order: Order) -> str:
    """Say where the lease is now."""
    lease = run.book.get(order.lease)
    if lease is not None and lease.open:
        return f"It is not known whether {order.lease} is in force: the host ends it within {order.longest_s:.0f} s."
    return f"The host was asked about {order.lease}: nothing of it is in force."
