# SPDX-License-Identifier: Apache-2.0
"""Put one fault in, on one host or on several: intent on disk, then the deed, then what was observed.

Every action of every area calls this.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaosgpu.errors import (
    AgentFailed,
    ChaosGpuError,
    FaultUnverified,
    LedgerBroken,
    Refused,
    Unreachable,
)
from chaosgpu.fleet.ask import Question, ask_all, ask_together, command_of, operator
from chaosgpu.fleet.everywhere import told
from chaosgpu.fleet.targets import inventory_in_use
from chaosgpu.fleet.transports import Clocks
from chaosgpu.fleet.values import JsonMapping, JsonObject, number, seconds
from chaosgpu.lease.book import Lease
from chaosgpu.lease.guarded import guarded_run, refuse_closing
from chaosgpu.lease.hosts import hosts_for
from chaosgpu.lease.order import Order
from chaosgpu.lease.put_in import UNDO_S, PutIn
from chaosgpu.lease.renewal import Way
from chaosgpu.lease.run import Run
from chaosgpu.lease.together import LEAST_S, Start, agreed, spread
from chaosgpu.lease.undo import undo_leases

__all__ = ["MARGIN_S", "TTL_S", "apply_fault"]

logger = logging.getLogger("chaostoolkit")

# The host ends a lease this long after its duration: time for our own undo to come first.
MARGIN_S = 10.0
# A lease that may last longer than this is renewed, and ends this long after the last sign of progress of the run.
TTL_S = 30.0
# By the time that a host reads the instant, less of its lease's time is left.
_SOONER_S = 0.5


def apply_fault(fault: str, params: JsonMapping, *, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Put a fault in on a host, see it verified there, and return {"host","lease","fault","observed","expires_in_s"}.

    On several hosts: {"fault", "leases": [one such object for each]}. It is in force on all of them or on none: where
    one says no, the others are undone at once.
    The lease ends on the host MARGIN_S after `duration_s`, whatever happens here, and, where it is renewed, TTL_S after
    the run was last seen alive, where that is sooner.
    Raises NoGuard, BadArgument, Refused, FaultUnverified, AgentFailed, Unreachable, LedgerBroken; whichever it is,
    the fault is not in force afterwards as far as the hosts could be asked, and the run's verdict counts it.
    """
    run = guarded_run()
    wanted = _Wanted(run, fault, params, seconds("duration_s", duration_s), seconds("timeout_s", timeout_s))
    names = hosts_for(run, hosts)
    inventory = inventory_in_use()
    if len(names) > 1 and inventory is not None and inventory.together:
        putting, said = _at_one_instant(wanted, names)
    else:
        putting = wanted.reserved(names, {})
        said = ask_all(putting.questions())
    found = putting.settled(said)
    errors = [one for one in found.values() if isinstance(one, ChaosGpuError)]
    if errors:
        raise _partial(run, putting.orders, found, errors)
    leases = [one for one in found.values() if not isinstance(one, ChaosGpuError)]
    if len(leases) == 1:
        return leases[0]
    return {"fault": fault, "leases": [*leases], **_apart(run, fault, putting.orders, leases)}


@dataclass(frozen=True)
class _Wanted:
    """What an action asks for, checked."""

    run: Run
    fault: str
    params: JsonMapping
    duration_s: float
    timeout_s: float

    def reserved(self, names: Sequence[str], starts: Mapping[str, Start]) -> PutIn:
        """Write down what is about to be done on each host, and return what does it."""
        run, longest_s = self.run, self.duration_s + MARGIN_S
        orders = []
        for host in names:
            way, start = _way(run, host, longest_s), starts.get(host)
            lasts_s = longest_s + (0.0 if start is None else start.lead_s)
            ttl_s, lease = lasts_s if way is None else way.ttl_s, run.names.lease()
            orders.append(Order(lease, host, self.fault, dict(self.params), ttl_s, lasts_s, way, self.timeout_s, start))
        refuse_closing(run, f"{self.fault} was not put in on {', '.join(names)}")
        for order in orders:
            run.ledger.append(
                "lease.reserved",
                lease=order.lease,
                host=order.host,
                fault=self.fault,
                params=order.params,
                ttl_s=order.ttl_s,
                max_duration_s=order.longest_s,
                **({} if order.start is None else order.start.as_json()),
            )
        for order in orders:
            run.book.put(Lease(order.lease, order.host, self.fault, "reserved"))
        return PutIn(run, orders)


def _at_one_instant(wanted: _Wanted, names: Sequence[str]) -> tuple[PutIn, list[JsonObject | ChaosGpuError]]:
    """Agree on one instant by all clocks and ask for it in the same round trip."""
    clock = wanted.run.names
    begun_s = clock.monotonic()
    putting: list[PutIn] = []

    def agree(found: Clocks) -> list[Question]:
        # The agent refuses an instant that is further ahead than half of the lease's time.
        way = _way(wanted.run, names[0], wanted.duration_s + MARGIN_S)
        furthest_s = max(wanted.duration_s, LEAST_S) if way is None else way.ttl_s / 2 - _SOONER_S
        starts = agreed(clock, wanted.fault, found, clock.monotonic() - begun_s, furthest_s)
        putting.append(wanted.reserved(names, starts))
        return putting[0].questions()

    said = ask_together(names, agree, wanted.timeout_s)
    return putting[0], said


def _apart(run: Run, fault: str, orders: Sequence[Order], leases: Sequence[JsonObject]) -> JsonObject:
    """Say, and write down, how far apart the injections were, where they were meant to be at one instant."""
    starts = [order.start for order in orders if order.start is not None]
    late = [late_s for lease in leases if (late_s := number(lease, "inject_skew_s")) is not None]
    if not starts or len(late) != len(orders):
        return {}
    found = spread(starts, late)
    run.note("fault.together", fault=fault, leases=[order.lease for order in orders], **found)
    logger.info(
        "  %s went in on %d hosts within %.0f ms, their clocks known to %.0f ms",
        fault,
        len(orders),
        1000 * (number(found, "spread_s") or 0.0),
        1000 * (number(found, "clock_error_s") or 0.0),
    )
    return {"together": found}


def _way(run: Run, host: str, longest_s: float) -> Way | None:
    """Say how the lease is renewed; None where its time is shorter than a TTL, or where only we can reach the agent."""
    ttl_s = TTL_S if run.fleet_ttl_s is None else run.fleet_ttl_s
    command = command_of(host) if longest_s > ttl_s else None
    if command is None:
        return None
    return Way(command, operator(), ttl_s, None if run.fleet_ttl_s is None else host)


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
