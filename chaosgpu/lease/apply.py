# SPDX-License-Identifier: Apache-2.0
"""Put one fault in, on one host or on several: intent on disk, then the deed, then what was observed.

Every action of every area calls this.
"""

import logging
import os
import signal
from collections.abc import Sequence

from chaosgpu.errors import (
    AgentFailed,
    ChaosGpuError,
    FaultUnverified,
    LedgerBroken,
    NoGuard,
    Refused,
    Unreachable,
)
from chaosgpu.fleet.ask import command_of, operator
from chaosgpu.fleet.everywhere import told
from chaosgpu.fleet.values import JsonMapping, JsonObject, seconds
from chaosgpu.lease.book import Lease
from chaosgpu.lease.hosts import hosts_for
from chaosgpu.lease.put_in import UNDO_S, Order, put_in
from chaosgpu.lease.renewal import Way
from chaosgpu.lease.run import Run, current_run
from chaosgpu.lease.undo import undo_leases

__all__ = ["MARGIN_S", "TTL_S", "apply_fault"]

logger = logging.getLogger("chaostoolkit")

# The host ends a lease this long after its duration: time for our own undo to come first.
MARGIN_S = 10.0
# A lease that may last longer than this is renewed, and ends this long after the last sign of progress of the run.
TTL_S = 30.0


def apply_fault(fault: str, params: JsonMapping, *, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Put a fault in on a host, see it verified there, and return {"host","lease","fault","observed","expires_in_s"}.

    On several hosts: {"fault", "leases": [one such object for each]}. It is in force on all of them or on none: where
    one says no, the others are undone at once.
    The lease ends on the host MARGIN_S after `duration_s`, whatever happens here, and, where it is renewed, TTL_S after
    the run was last seen alive, where that is sooner.
    Raises NoGuard, BadArgument, Refused, FaultUnverified, AgentFailed, Unreachable, LedgerBroken; whichever it is,
    the fault is not in force afterwards as far as the hosts could be asked, and the run's verdict counts it.
    """
    try:
        run = current_run()
    except NoGuard:
        _stop_unguarded()
        raise
    longest_s = seconds("duration_s", duration_s) + MARGIN_S
    deadline_s = seconds("timeout_s", timeout_s)
    names = hosts_for(run, hosts)
    orders = []
    for host in names:
        way = _way(host, longest_s)
        ttl_s = longest_s if way is None else way.ttl_s
        orders.append(Order(run.names.lease(), host, fault, dict(params), ttl_s, longest_s, way, deadline_s))
    if run.closing.is_set():
        raise Refused(f"{fault} was not put in on {', '.join(names)}: the run is being stopped or rolled back.")
    for order in orders:
        run.ledger.append(
            "lease.reserved",
            lease=order.lease,
            host=order.host,
            fault=fault,
            params=order.params,
            ttl_s=order.ttl_s,
            max_duration_s=order.longest_s,
        )
    for order in orders:
        run.book.put(Lease(order.lease, order.host, fault, "reserved"))
    found = {order.host: one for order, one in zip(orders, put_in(run, orders), strict=True)}
    errors = [one for one in found.values() if isinstance(one, ChaosGpuError)]
    if errors:
        raise _partial(run, orders, found, errors)
    leases = [one for one in found.values() if not isinstance(one, ChaosGpuError)]
    return leases[0] if len(leases) == 1 else {"fault": fault, "leases": [*leases]}


def _way(host: str, longest_s: float) -> Way | None:
    """Say how the lease is renewed; None where its time is shorter than a TTL, or where only we can reach the agent."""
    command = command_of(host) if longest_s > TTL_S else None
    return None if command is None else Way(command, operator(), TTL_S)


def _partial(
    run: Run,
    orders: Sequence[Order],
    found: dict[str, JsonObject | ChaosGpuError],
    errors: Sequence[ChaosGpuError],
) -> ChaosGpuError:
    """Undo a fault that is not in force everywhere, and say of each host how it went."""
    if len(orders) == 1:
        return errors[0]
    active = [lease for order in orders if (lease := run.book.get(order.lease)) and lease.in_force]
    undo_leases(run, active, UNDO_S, "not on all hosts")
    sentence = (
        f"{orders[0].fault} could not be put in on all of {len(orders)} hosts, so it is on none of them as far as they "
        f"could be asked: {told(found)}"
    )
    for kind in (LedgerBroken, FaultUnverified, AgentFailed, Unreachable, Refused):
        worst = [error for error in errors if isinstance(error, kind)]
        if worst:
            first = worst[0]
            return type(first)(sentence, first.kind) if isinstance(first, AgentFailed) else type(first)(sentence)
    return type(errors[0])(sentence)


def _stop_unguarded() -> None:
    """End a `chaos run` without the guard: Chaos Toolkit would count the refused action and end green."""
    handler = signal.getsignal(signal.SIGUSR1)
    # Only Chaos Toolkit's own handler makes an orderly stop of this signal; elsewhere it would kill the process.
    if getattr(handler, "__module__", None) == "chaoslib.exit":
        logger.error("A fault was asked for in a run without the guard control: the run is stopped.")
        os.kill(os.getpid(), signal.SIGUSR1)
