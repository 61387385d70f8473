# SPDX-License-Identifier: Apache-2.0
"""How this host stands: in service or not, for which drill, what is taken and how that is seen now. Changes nothing."""

from typing import Callable, List

from chaosgpu.agent.errors import FAULT_BROKE, AgentError, as_agent_error
from chaosgpu.agent.service.answer import Answer
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.mark import motd_is_there, read_mark
from chaosgpu.agent.service.quarantine import QUARANTINED
from chaosgpu.agent.service.record import Record
from chaosgpu.agent.service.things import Things, things_of
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["status"]


def status(desk: Desk, make: Callable[[Record, Desk], Things] = things_of) -> Answer:
    """Look; what cannot be looked at is said, since a broken host is the one that people ask about."""
    record, state, damage = desk.seen()
    answer = Answer(desk.host, "", state, {"host": state}, said=damage)
    taken: List[JsonValue] = []
    if record is not None:
        answer.drill = record.drill
        kinds = make(record, desk)
        for one in record.taken:
            entry: JsonObject = {"kind": one.kind, "stage": one.stage, "prior": one.prior}
            taken.append(entry)
            try:
                answer.before.update(kinds[one.kind].shown(one))
            except (AgentError, *FAULT_BROKE) as error:
                answer.said.append(str(as_agent_error(error, f"Looking at {one.kind}")))
    mark, halted = read_mark(desk), desk.halted()
    if mark is not None:
        answer.state, answer.drill = QUARANTINED, answer.drill or mark.drill
        answer.said.append(f"This host is {mark.sentence()}.")
        if halted is None:
            answer.said.append("It is not halted: somebody has resumed it. Quarantine it again, or release it.")
    answer.after = dict(answer.before)
    answer.more = {
        "since": None if record is None else record.at,
        "by": None if record is None else record.by,
        "reason": None if record is None else record.reason,
        "taken": taken,
        "quarantine": None if mark is None else mark.to_json(),
        "halted": None if halted is None else {**halted},
        "motd": motd_is_there(desk),
    }
    return answer
