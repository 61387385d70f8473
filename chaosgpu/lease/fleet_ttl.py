# SPDX-License-Identifier: Apache-2.0
"""For how long a renewal of a fleet's leases counts: at least six round trips, as measured when the run starts."""

import math

from chaosgpu.errors import Refused
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.lease.apply import TTL_S

__all__ = ["fleet_ttl_s"]

# A renewal comes every third of it, and takes one; so two may be lost.
_ROUND_TRIPS = 6


def fleet_ttl_s(inventory: Inventory, round_trip_s: float) -> float | None:
    """Return it; None where leases of this fleet are not renewed. Raises Refused for one that is too short."""
    if not inventory.renew:
        return None
    least_s = _ROUND_TRIPS * round_trip_s
    if inventory.ttl_s is None:
        return float(max(TTL_S, math.ceil(least_s)))
    if inventory.ttl_s < least_s:
        raise Refused(
            f"chaosgpu_ttl_s is {inventory.ttl_s:g}, and a round trip to these hosts took {round_trip_s:.1f} s now: a "
            f"renewal must count for at least {_ROUND_TRIPS} of them, {least_s:.0f} s. Take chaosgpu_ttl_s out, or set "
            "chaosgpu_renew_fleet to false: a lease then ends when its time is over."
        )
    return inventory.ttl_s
