# SPDX-License-Identifier: Apache-2.0
"""Put one fault in: intent on disk, then the deed, then what was observed. Every action of every area calls this."""

import logging
import os
import signal
from dataclasses import dataclass

from chaosgpu.errors import (
    AgentFailed,
    BadArgument,
    ChaosGpuError,
    FaultUnverified,
    LedgerBroken,
    NoGuard,
    Refused,
    Unreachable,
)
from chaosgpu.fleet.ask import ask, command_of, operator
from chaosgpu.fleet.targets import one_host
from chaosgpu.fleet.values import JsonMapping, JsonObject, number, optional_text, seconds, text, whole_object
from chaosgpu.lease.book import Lease
from chaosgpu.lease.lines import active_line
from chaosgpu.lease.renewal import Way
from chaosgpu.lease.run import Run, current_run
from chaosgpu.lease.undo import undo_one

__all__ = ["MARGIN_S", "TTL_S", "apply_fault"]

logger = logging.getLogger("chaostoolkit")

# The host ends a lease this long after its duration: time for our own undo to come first.
MARGIN_S = 10.0
# A lease that may last longer than this is renewed, and ends this long after the last sign of progress of the run.
TTL_S = 30.0
_UNDO_S = 30.0


@dataclass(frozen=True)
class _Order:
    """What is asked of the host."""

    lease: str
    host: str
    fault: str
    params: JsonObject
    ttl_s: float
    longest_s: float
    # None: it is not renewed, and ends when its time is over.
    way: Way | None
    timeout_s: float


def apply_fault(fault: str, params: JsonMapping, *, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Put a fault in on a host, see it verified there, and return {"host","lease","fault","observed","expires_in_s"}.

    The lease ends on the host MARGIN_S after `duration_s`, whatever happens here, and TTL_S after the run was last
    seen alive, where that is sooner.
    Raises NoGuard, BadArgument, Refused, FaultUnverified, AgentFailed, Unreachable, LedgerBroken; whichever it is,
    the fault is not in force afterwards as far as the host could be asked, and the run's verdict counts it.
    """
    try:
        run = current_run()
    except NoGuard:
        _stop_unguarded()
        raise
    host = one_host(hosts)
    longest_s = seconds("duration_s", duration_s) + MARGIN_S
    deadline_s = seconds("timeout_s", timeout_s)
    way = _way(host, longest_s)
    ttl_s = longest_s if way is None else way.ttl_s
    order = _Order(run.names.lease(), host, fault, dict(params), ttl_s, longest_s, way, deadline_s)
    if run.closing.is_set():
        raise Refused(f"{fault} was not put in on {host}: the run is being stopped or rolled back.")
    run.ledger.append(
        "lease.reserved",
        lease=order.lease,
        host=host,
        fault=fault,
        params=order.params,
        ttl_s=order.ttl_s,
        max_duration_s=order.longest_s,
    )
    run.book.put(Lease(order.lease, host, fault, "reserved"))
    return _record(run, order, _send(run, order))


def _way(host: str, longest_s: float) -> Way | None:
    """Say how the lease is renewed; None where its time is shorter than a TTL, or where only we can reach the agent."""
    command = command_of(host) if longest_s > TTL_S else None
    return None if command is None else Way(command, operator(), TTL_S)


def _send(run: Run, order: _Order) -> JsonObject:
    """Ask the host; whatever comes back but a lease in force is settled before the error goes on."""
    request: JsonObject = {
        "lease": order.lease,
        "fault": order.fault,
        "params": order.params,
        "ttl_s": order.ttl_s,
        "max_duration_s": order.longest_s,
        "run": run.id,
    }
    if run.stop_when is not None:
        request["stop_when"] = run.stop_when
    try:
        if order.way is not None:
            run.renewal.hold(order.lease, order.way)
        return ask(order.host, "apply", request, order.timeout_s)
    except (Refused, BadArgument) as error:
        run.renewal.drop(order.lease)
        run.book.change(order.lease, state="refused", reason=str(error))
        run.note("lease.refused", lease=order.lease, host=order.host, fault=order.fault, reason=str(error))
        raise
    except FaultUnverified as error:
        _settle_unverified(run, order, error)
        raise
    except ChaosGpuError as error:
        _settle(run, order)
        told = f"{error} {_where(run, order)}"
        raise (AgentFailed(told, error.kind) if isinstance(error, AgentFailed) else Unreachable(told)) from error


def _record(run: Run, order: _Order, answer: JsonObject) -> JsonObject:
    """Write what was observed and return it; a lease that cannot be recorded, or shows nothing, is undone."""
    state, observed = text(answer, "state"), whole_object(answer, "observed")
    expires_in_s = number(answer, "expires_in_s")
    if state != "active" or not observed:
        error = FaultUnverified(
            f"{order.host}: the agent says that {order.fault} is {state} and observed {observed or 'nothing'}; "
            "a fault that nobody has seen is none, so it was undone.",
            "unverified",
        )
        _settle_unverified(run, order, error)
        raise error
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
        )
    except LedgerBroken as error:
        run.lacks(str(error))
        undo_one(run, lease, _UNDO_S, "record broken")
        raise LedgerBroken(f"{error} {_where(run, order)}") from error
    logger.info(active_line(lease, expires_in_s, None if order.way is None else order.longest_s))
    return {
        "host": lease.host,
        "lease": lease.lease,
        "fault": lease.fault,
        "observed": observed,
        "expires_in_s": expires_in_s,
    }


def _settle_unverified(run: Run, order: _Order, error: AgentFailed) -> None:
    """Note that nothing was proved, and make sure that nothing stays."""
    run.book.change(order.lease, unverified=True, reason=str(error))
    run.note("fault.unverified", lease=order.lease, host=order.host, fault=order.fault, reason=str(error))
    _settle(run, order)


def _settle(run: Run, order: _Order) -> None:
    """Ask for the undo of a lease whose fate is not known: a lost reply is no lost lease, a late apply is barred."""
    lease = run.book.get(order.lease)
    if lease is not None:
        undo_one(run, lease, min(_UNDO_S, max(order.timeout_s, 1.0)), "no answer")


def _where(run: Run, order: _Order) -> str:
    """Say where the lease is now."""
    lease = run.book.get(order.lease)
    if lease is not None and lease.open:
        return f"It is not known whether {order.lease} is in force: the host ends it within {order.longest_s:.0f} s."
    return f"The host was asked about {order.lease}: nothing of it is in force."


def _stop_unguarded() -> None:
    """End a `chaos run` without the guard: Chaos Toolkit would count the refused action and end green."""
    handler = signal.getsignal(signal.SIGUSR1)
    # Only Chaos Toolkit's own handler makes an orderly stop of this signal; elsewhere it would kill the process.
    if getattr(handler, "__module__", None) == "chaoslib.exit":
        logger.error("A fault was asked for in a run without the guard control: the run is stopped.")
        os.kill(os.getpid(), signal.SIGUSR1)
