# SPDX-License-Identifier: Apache-2.0
"""The things of one drain, in the order in which they are taken; they go back in the other."""

from typing import Dict, List

from chaosgpu.agent.service.containers import Containers
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.hook import Hook
from chaosgpu.agent.service.order import Wanted
from chaosgpu.agent.service.record import Record
from chaosgpu.agent.service.slurm import Slurm
from chaosgpu.agent.service.thing import Thing
from chaosgpu.agent.service.units import Units

__all__ = ["Things", "things", "things_of"]

Things = Dict[str, Thing]


def things(wanted: Wanted, drill: str, reason: str, desk: Desk) -> Things:
    """Return what is wanted by its kind. Where users come in is first: no new work on a host that is going down."""
    found: List[Thing] = []
    if wanted.slurm:
        found.append(Slurm(wanted.node, drill, reason, desk))
    if wanted.hook:
        found.append(Hook(wanted.hook, drill, reason, desk))
    if wanted.containers:
        found.append(Containers(wanted.containers, wanted.units, desk))
    if wanted.units:
        found.append(Units(wanted.units, drill, desk))
    return {thing.kind: thing for thing in found}


def things_of(record: Record, desk: Desk) -> Things:
    """Return what a record has taken: by its own words, not by a later request's."""
    return things(record.wanted, record.drill, record.reason, desk)
