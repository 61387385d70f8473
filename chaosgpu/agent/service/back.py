# SPDX-License-Identifier: Apache-2.0
"""Put this host back into service: what our drain has taken, and only that; what others changed is left and told.

Where something does not come back, nothing that users come in by is given back: the host stays out of service.
"""

from dataclasses import replace
from typing import Callable, Dict, List, Optional

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, Refused, Unverified, as_agent_error
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.order import Order
from chaosgpu.agent.service.record import IN_SERVICE, RETURNING, Record, Taken
from chaosgpu.agent.service.thing import Budget, Thing
from chaosgpu.agent.service.things import Things, things_of

__all__ = ["give_back", "put_all_back"]


def give_back(order: Order, desk: Desk, make: Callable[[Record, Desk], Things] = things_of) -> Answer:
    """Do it, or with `check` say what would change."""
    record = desk.record()
    answer = Answer(desk.host, order.drill, IN_SERVICE, {"host": IN_SERVICE}, {"host": IN_SERVICE})
    if record is None:
        return answer
    if record.drill != order.drill:
        raise Refused(
            f"This host is {record.sentence()}, and not for {order.drill}: only that drill's return gives it back."
        )
    desk.refuse_open_leases("A host with a fault on it is not given back to its users.")
    kinds = make(record, desk)
    answer.before, answer.after = _seen(record, kinds)
    if order.check:
        answer.left_alone = [said for taken in record.taken for said in _planned(taken, kinds[taken.kind]).left_alone]
        return answer
    ended = put_all_back(record, kinds, desk, Budget(desk.clock, order.within_s), answer.said)
    answer.left_alone = [said for taken in ended.taken for said in taken.left_alone]
    answer.after = {"host": IN_SERVICE, **_shown(ended, kinds)}
    desk.note({"verb": "return", "drill": record.drill, "by": order.by, "left_alone": list(answer.left_alone)})
    return answer


def put_all_back(record: Record, kinds: Things, desk: Desk, budget: Budget, said: Optional[List[str]] = None) -> Record:
    """Put each kind of thing back, the last taken first, and forget the record; return how it ended."""
    record = desk.save(replace(record, state=RETURNING))
    failed: List[AgentError] = []
    for taken in reversed(record.taken):
        kind = taken.kind
        if not taken.touched or (failed and kinds[kind].entry):
            continue
        try:
            planned = _planned(taken, kinds[kind])
            if taken.stage != "putting back":
                record = desk.save(record.with_taken(planned))
            lines = kinds[kind].put_back(planned, budget)
            record = desk.save(record.with_taken(replace(planned, stage="back")))
        except (AgentError, *FAULT_BROKE) as error:
            failed.append(as_agent_error(error, f"Putting {kind} back"))
            continue
        if said is not None:
            said += lines
    if failed:
        raise Unverified(
            f"{' '.join(map(str, failed))} The host is not back in service: mend that and return it again, or "
            "quarantine it."
        )
    desk.forget()
    return record


def _planned(taken: Taken, thing: Thing) -> Taken:
    """Return it with what is to be done; decided once, since afterwards our own hand could be taken for another's."""
    if taken.stage == "putting back" or not taken.touched:
        return taken
    judged = thing.judge(taken)
    return replace(taken, stage="putting back", plan=judged.plan, left_alone=tuple(judged.left_alone))


def _seen(record: Record, kinds: Things) -> "tuple[Dict[str, str], Dict[str, str]]":
    """Return how all is seen, and how it would be after a return."""
    after: Dict[str, str] = {}
    for taken in record.taken:
        touched = taken.touched
        after.update(kinds[taken.kind].judge(taken).after if touched else kinds[taken.kind].shown(taken))
    return {"host": record.state, **_shown(record, kinds)}, {"host": IN_SERVICE, **after}


def _shown(record: Record, kinds: Things) -> Dict[str, str]:
    return {key: word for taken in record.taken for key, word in kinds[taken.kind].shown(taken).items()}
