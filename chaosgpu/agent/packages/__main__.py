# SPDX-License-Identifier: Apache-2.0
"""`PYTHONPATH=agent.pyz python3 -m chaosgpu.agent.packages VERB`: one JSON object in, one out, as the agent's verbs.

plan {"packages"}   snapshot {"packages", "folder", "may_remove"?}   change {"folder", "within_s"?}
restore {"folder", "within_s"?}   judge {"folder"}   guard | gaps {"packages"}   unguard {"names"}
"""

import json
import sys
from pathlib import Path
from typing import Callable, Dict, List, Mapping

from chaosgpu.agent import values
from chaosgpu.agent.errors import AgentError, BadRequest
from chaosgpu.agent.packages.change import not_there, put_in
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.guard import gaps, guard, unguard
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.plan import Plan, plan, refuse_harm
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.snapshot import load, take
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

_WITHIN_S = 900.0
_LONGEST_S = 7200.0


def _plan(request: JsonMapping, tools: Tools) -> JsonObject:
    return _planned(request, tools).to_json()


def _planned(request: JsonMapping, tools: Tools) -> Plan:
    facts = look(tools)
    found = plan(tools, facts, _versions(request))
    refuse_harm(found, facts, _names(request, "may_remove"))
    return found


def _snapshot(request: JsonMapping, tools: Tools) -> JsonObject:
    found = take(tools, _folder(request), _planned(request, tools), look(tools))
    names: List[JsonValue] = [*found.names]
    return {"packages": names, "module": found.module}


def _change(request: JsonMapping, tools: Tools) -> JsonObject:
    found = load(tools, _folder(request))
    put_in(tools, found, _within(request))
    return {"not_there": [*not_there(tools, found)]}


def _restore(request: JsonMapping, tools: Tools) -> JsonObject:
    restore(tools, load(tools, _folder(request)), _within(request))
    return _judge(request, tools)


def _judge(request: JsonMapping, tools: Tools) -> JsonObject:
    found = judge(tools, load(tools, _folder(request)))
    left: List[JsonValue] = [*found.left_alone]
    return {"as_before": found.as_before, **found.values, "left_alone": left, "by_hand": found.by_hand}


def _guard(request: JsonMapping, tools: Tools) -> JsonObject:
    return {"gaps": [*guard(tools, _versions(request))]}


def _gaps(request: JsonMapping, tools: Tools) -> JsonObject:
    return {"gaps": [*gaps(tools, _versions(request))]}


def _unguard(request: JsonMapping, tools: Tools) -> JsonObject:
    unguard(tools, _names(request, "names"))
    return {}


Verb = Callable[[JsonMapping, Tools], JsonObject]

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


def _versions(request: JsonMapping) -> Dict[str, str]:
    named = values.mapping(request, "packages")
    if not named:
        raise BadRequest("packages names no package; nothing is meant by default.")
    return {name: values.text(named, name) for name in named}


def _names(request: JsonMapping, key: str) -> List[str]:
    found = request.get(key, [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise BadRequest(f"{key} must be a list of names of packages, not {found!r}.")
    return [str(name) for name in found]


def _folder(request: JsonMapping) -> Path:
    path = Path(values.text(request, "folder"))
    if not path.is_absolute():
        raise BadRequest(f"folder must be an absolute path, not {str(path)!r}.")
    return path


def _within(request: JsonMapping) -> float:
    return values.number(request, "within_s", 1.0, _LONGEST_S) if "within_s" in request else _WITHIN_S


def main(words: List[str], verbs: Mapping[str, Verb] = VERBS) -> int:
    """Carry out one verb; 0 if standard output holds the answer."""
    try:
        if len(words) != 1 or words[0] not in verbs:
            raise BadRequest(f"It is one of {', '.join(verbs)}, not {' '.join(words)!r}.")
        request = json.loads(sys.stdin.read() or "{}")
        if not isinstance(request, dict):
            raise BadRequest("The request must be one JSON object.")
        answer = verbs[words[0]](request, Tools())
    except ValueError as error:
        answer = {"error": {"kind": "bad_request", "message": f"The request is no JSON: {error}."}}
    except AgentError as error:
        answer = {"error": {"kind": error.kind, "message": str(error)}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
