# SPDX-License-Identifier: Apache-2.0
"""A host that did not come back: marked, halted, told at login, and out of service until a named person releases it.

The mark is first, since nothing may give the host back once that stands. The kill switch is the agent's own: it undoes
what is in force and refuses every new fault.
"""

from typing import Callable, Dict, List, Optional

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, Refused, as_agent_error
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.drain import drain, refuse_another, take_all
from chaosgpu.agent.service.mark import (
    Mark,
    motd_is_there,
    read_mark,
    remove_mark,
    remove_motd,
    write_mark,
    write_motd,
)
from chaosgpu.agent.service.order import Order, Wanted
from chaosgpu.agent.service.record import DRAINED, Record
from chaosgpu.agent.service.thing import Budget
from chaosgpu.agent.service.things import Things, things_of

__all__ = ["QUARANTINED", "quarantine", "refuse_quarantined", "release"]

QUARANTINED = "quarantined"
_ON, _OFF = "on", "off"


def refuse_quarantined(desk: Desk) -> None:
    """Refuse to drain or return a host that waits for a person."""
    mark = read_mark(desk)
    if mark is not None:
        raise Refused(f"This host is {mark.sentence()}. A named person releases it first (service release).")


def quarantine(order: Order, desk: Desk, make: Callable[[Record, Desk], Things] = things_of) -> Answer:
    """Do it, or with `check` say what would change; a first mark is kept, as that of a halt is."""
    record, _, damage = desk.seen()
    standing = read_mark(desk)
    if standing is None:
        refuse_another(record, order)
    mark = standing or Mark.of(order, desk.now())
    answer = Answer(desk.host, mark.drill, QUARANTINED, _shown(desk), said=damage)
    if standing is not None and (standing.drill, standing.reason) != (order.drill, order.reason):
        answer.said.append(f"It is {standing.sentence()}; that mark is kept.")
    if order.check:
        to_drain = record is not None or order.wanted != Wanted()
        state = DRAINED if to_drain else answer.before["host"]
        answer.after = {"host": state, "quarantine": _worded(mark), "halt": _ON, "motd": _ON}
        answer.more = {"quarantine": mark.to_json(), "drained": to_drain}
        return answer
    write_mark(mark, desk)
    if desk.halted() is None:
        desk.ask("halt", by=mark.by, reason=mark.halt_reason)
        desk.step("halted")
    elif standing is None:
        answer.said.append("The host was halted already: when that is resumed, quarantine it again.")
    if not motd_is_there(desk):
        told = write_motd(mark, desk)
        answer.said += [told] if told else []
    answer.said += _keep_out(order, record, desk, make)
    answer.after = _shown(desk)
    answer.more = {"quarantine": mark.to_json(), "drained": answer.after["host"] == DRAINED}
    if standing is None:
        desk.note({"verb": "quarantine", **mark.to_json()})
    return answer


def release(order: Order, desk: Desk) -> Answer:
    """Take mark, line and our halt away; the host stays drained until its drill's return."""
    _, state, damage = desk.seen()
    mark, halted = read_mark(desk), desk.halted()
    answer = Answer(desk.host, order.drill, state, _shown(desk), said=damage)
    if mark is None:
        answer.after = dict(answer.before)
        return answer
    answer.drill = mark.drill
    ours = halted is not None and halted["reason"] == mark.halt_reason
    if halted is not None and not ours:
        answer.left_alone.append(f"The host was halted by {halted['by']} ({halted['reason']}); that was left so.")
    if order.check:
        halt = _OFF if ours else answer.before["halt"]
        answer.after = {**answer.before, "quarantine": "none", "halt": halt, "motd": _OFF}
        return answer
    remove_motd(desk)
    if ours:
        desk.ask("resume", by=order.by, reason=order.reason)
        desk.step("resumed")
    remove_mark(desk)
    desk.note({"verb": "release", "drill": mark.drill, "by": order.by, "reason": order.reason})
    answer.after = _shown(desk)
    return answer


def _keep_out(order: Order, record: Optional[Record], desk: Desk, make: Callable[[Record, Desk], Things]) -> List[str]:
    """Take again what a return has put back, or what the order names; what cannot be taken is told, the mark stands."""
    if record is None and order.wanted == Wanted():
        return ["The host was not drained, and nothing to drain was named: it is marked and halted, and in service."]
    try:
        if record is None:
            return drain(order, desk, make).said
        if record.state != DRAINED:
            ended = take_all(record, make(record, desk), desk, Budget(desk.clock, order.within_s))
            desk.save(Record(ended.drill, ended.reason, ended.by, ended.at, DRAINED, ended.wanted, ended.taken))
    except (AgentError, *FAULT_BROKE) as error:
        return [f"It is not all out of service: {as_agent_error(error, 'Draining it')}"]
    return []


def _shown(desk: Desk) -> Dict[str, str]:
    mark = read_mark(desk)
    return {
        "host": desk.seen()[1],
        "quarantine": "none" if mark is None else _worded(mark),
        "halt": _OFF if desk.halted() is None else _ON,
        "motd": _ON if motd_is_there(desk) else _OFF,
    }


def _worded(mark: Mark) -> str:
    return f"{mark.drill}: {mark.reason}"
