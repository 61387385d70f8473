# SPDX-License-Identifier: Apache-2.0
"""`PYTHONPATH=agent.pyz python3 -m chaosgpu.agent.packages VERB`: one JSON object in, one out, as the agent's verbs.

plan {"packages"}   snapshot {"packages", "folder", "may_remove"?}   change {"folder", "within_s"?}
restore {"folder", "within_s"?}   judge {"folder"}   guard | gaps {"packages"}   unguard {"names"}
"""

import sys
from pathlib import Path
from typing import Dict, List

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.packages import asked
from chaosgpu.agent.packages.change import not_there, put_in
from chaosgpu.agent.packages.engine import Verb, main
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.guard import gaps, guard, unguard
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.plan import Plan, plan, refuse_harm
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.snapshot import load, take
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

_WITHIN_S = 900.0


def _plan(request: JsonMapping, tools: Tools) -> JsonObject:
    return _planned(request, tools).to_json()


def _planned(request: JsonMapping, tools: Tools) -> Plan:
    facts = look(tools)
    found = plan(tools, facts, asked.versions(request))
    refuse_harm(found, facts, asked.names(request, "may_remove"))
    return found


def _snapshot(request: JsonMapping, tools: Tools) -> JsonObject:
    found = take(tools, _folder(request), _planned(request, tools), look(tools))
    names: List[JsonValue] = [*found.names]
    return {"packages": names, "module": found.module}


def _change(request: JsonMapping, tools: Tools) -> JsonObject:
    found = load(tools, _folder(request))
    put_in(tools, found, asked.within(request, _WITHIN_S))
    return {"not_there": [*not_there(tools, found)]}


def _restore(request: JsonMapping, tools: Tools) -> JsonObject:
    restore(tools, load(tools, _folder(request)), asked.within(request, _WITHIN_S))
    return _judge(request, tools)


def _judge(request: JsonMapping, tools: Tools) -> JsonObject:
    found = judge(tools, load(tools, _folder(request)))
    left: List[JsonValue] = [*found.left_alone]
    return {"as_before": found.as_before, **found.values, "left_alone": left, "by_hand": found.by_hand}


def _guard(request: JsonMapping, tools: Tools) -> JsonObject:
    return {"gaps": [*guard(tools, asked.versions(request))]}


def _gaps(request: JsonMapping, tools: Tools) -> JsonObject:
    return {"gaps": [*gaps(tools, asked.versions(request))]}


def _unguard(request: JsonMapping, tools: Tools) -> JsonObject:
    unguard(tools, asked.names(request, "names"))
    return {}


VERBS: Dict[str, Verb] = {
    "plan": _plan,
    "snapshot": _snapshot,
    "change": _change,
    "restore": _restore,
    "judge": _judge,
    "guard": _guard,
    "gaps": _gaps,
    "unguard": _unguard,
}


def _folder(request: JsonMapping) -> Path:
    path = Path(values.text(request, "folder"))
    if not path.is_absolute():
        raise BadRequest(f"folder must be an absolute path, not {str(path)!r}.")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], VERBS))
