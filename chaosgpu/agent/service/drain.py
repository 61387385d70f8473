# SPDX-License-Identifier: Apache-2.0
"""Take this host out of service: note how everything is, durably, then take one kind of thing after the other.

All or nothing: where one cannot be taken, or somebody is still on a GPU, what was taken is put back. Killed at any
point, the next drain goes on and the next return puts back.
"""

from dataclasses import replace
from typing import Callable, Dict, Optional, Tuple

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, Refused, Unverified, as_agent_error
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.back import put_all_back
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.gpus import refuse_processes, refuse_unaccounted
from chaosgpu.agent.service.order import Order
from chaosgpu.agent.service.record import DRAINED, DRAINING, IN_SERVICE, Record, Taken
from chaosgpu.agent.service.thing import Budget
from chaosgpu.agent.service.things import Things, things_of

__all__ = ["Make", "drain", "refuse_another", "take_all"]

Make = Callable[[Record, Desk], Things]


def drain(order: Order, desk: Desk, make: Make = things_of) -> Answer:
    """Do it, or with `check` say what would change."""
    record = desk.record()
    refuse_another(record, order)
    if record is not None and record.wanted != order.wanted:
        raise Refused(
            f"The drill {order.drill} has drained this host of other things already: return it first, then drain anew."
        )
    desk.refuse_open_leases("A host is drained before faults, not under them.")
    known = record if record is not None else _new(order, desk, make)
    kinds = make(known, desk)
    answer = Answer(desk.host, known.drill, DRAINED)
    answer.before = {"host": IN_SERVICE if record is None else known.state, **_shown(known, kinds)}
    answer.after = {"host": DRAINED, **_drained(known, kinds)}
    if order.check:
        return answer
    budget = Budget(desk.clock, order.within_s)
    known = known if record is None or known.state == DRAINED else desk.save(replace(known, state=DRAINING))
    try:
        if answer.before != answer.after:
            known = take_all(desk.save(known), kinds, desk, budget)
        refuse_processes(known.wanted.allow_processes, desk, budget)
    except (AgentError, *FAULT_BROKE) as error:
        _give_up(error, record, kinds, order, desk)
    if known.state != DRAINED:
        desk.save(replace(known, state=DRAINED))
        desk.note({"verb": "drain", "drill": known.drill, "by": order.by, "reason": order.reason})
    answer.after = {"host": DRAINED, **_shown(known, kinds)}
    return answer


def refuse_another(record: Optional[Record], order: Order) -> None:
    """Refuse what another drill has drained."""
    if record is not None and record.drill != order.drill:
        raise Refused(f"This host is {record.sentence()}, and this is {order.drill}: let that drill return it first.")


def take_all(record: Record, kinds: Things, desk: Desk, budget: Budget) -> Record:
    """Take each kind of thing that is not as it is to be: noted first, then touched, then read back."""
    for kind, thing in kinds.items():
        taken = record.of()[kind]
        if thing.shown(taken) == thing.drained(taken) and taken.stage in ("planned", "taken"):
            continue
        record = desk.save(record.with_taken(replace(taken, stage="taking", plan={}, left_alone=())))
        thing.take(record.of()[kind], budget)
        taken = replace(record.of()[kind], stage="taken")
        seen, wanted = thing.shown(taken), thing.drained(taken)
        if seen != wanted:
            raise Unverified(f"This is not out of service: {_difference(seen, wanted)}.")
        record = desk.save(record.with_taken(taken))
    return record


def _new(order: Order, desk: Desk, make: Make) -> Record:
    """Return the record of a drain that has touched nothing; refused here, it never will."""
    empty = Record(order.drill, order.reason, order.by, desk.now(), DRAINING, order.wanted, ())
    taken: Tuple[Taken, ...] = tuple(Taken(kind, thing.prior()) for kind, thing in make(empty, desk).items())
    refuse_unaccounted(order.wanted.allow_processes, taken, desk)
    return replace(empty, taken=taken)


def _give_up(error: BaseException, before: Optional[Record], kinds: Things, order: Order, desk: Desk) -> None:
    """Put back what this drain has taken, and raise; a host that was drained before stays drained."""
    told = as_agent_error(error, "The drain")
    record = desk.record()
    if record is None or (before is not None and before.state == DRAINED):
        raise told
    try:
        put_all_back(record, kinds, desk, Budget(desk.clock, order.within_s))
    except AgentError as second:
        told.args = (f"{told} And it could not all be put back, so the host is not in service: {second}",)
        raise told from error
    desk.note({"verb": "drain", "drill": order.drill, "by": order.by, "refused": str(told)})
    told.args = (f"{told} What was taken is put back.",)
    raise told from error


def _shown(record: Record, kinds: Things) -> Dict[str, str]:
    return {key: word for kind, thing in kinds.items() for key, word in thing.shown(record.of()[kind]).items()}


def _drained(record: Record, kinds: Things) -> Dict[str, str]:
    return {key: word for kind, thing in kinds.items() for key, word in thing.drained(record.of()[kind]).items()}


def _difference(seen: Dict[str, str], wanted: Dict[str, str]) -> str:
    return "; ".join(f"{key} is {seen.get(key)}, not {word}" for key, word in wanted.items() if seen.get(key) != word)
