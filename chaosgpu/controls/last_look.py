# SPDX-License-Identifier: Apache-2.0
"""All that is asked of the hosts once a run's undo is through, in one round trip."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import Question, ask_all
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.run import Run

__all__ = ["LastLook", "last_look"]

_ASK_S = 30.0
_READ_S = 45.0

type _Answers = dict[str, JsonObject | ChaosGpuError]


@dataclass(frozen=True)
class LastLook:
    """What each host said: what it holds of this run, what of ours is left there, all its leases, and its facts."""

    held: _Answers = field(default_factory=dict)
    residue: _Answers = field(default_factory=dict)
    listed: _Answers = field(default_factory=dict)
    facts: _Answers = field(default_factory=dict)


def last_look(run: Run, hosts: Sequence[str], *, also_keep: bool) -> LastLook:
    """Ask these hosts; `also_keep`: for their leases and facts too, which are kept beside those before the run.

    The facts come last: where somebody has put another agent there meanwhile, they alone are refused.
    """
    look = LastLook()
    leased = {lease.host for lease in run.book.all()}
    asked: list[tuple[_Answers, Question]] = []
    for host in hosts:
        if leased:
            asked.append((look.held, Question(host, "list", {"run": run.id}, _ASK_S)))
        if host in leased:
            request: JsonObject = {"reading": "residue", "params": {"owner": "ours"}}
            asked.append((look.residue, Question(host, "read", request, _READ_S)))
        if also_keep:
            asked.append((look.listed, Question(host, "list", {}, _ASK_S)))
            asked.append((look.facts, Question(host, "facts", {}, _ASK_S)))
    answers = ask_all([question for _, question in asked])
    for (into, question), answer in zip(asked, answers, strict=True):
        into[question.host] = answer
    return look
