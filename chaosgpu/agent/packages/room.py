# SPDX-License-Identifier: Apache-2.0
"""`agent packages VERB`: what a playbook may ask of the host's packages through the agent's one line in sudoers.

Nothing here takes a path: whoever may call it must not be able to have root write, remove or install what he likes.
What changes packages is refused where the host's policy does not permit `package.install`.

plan {"packages", "may_remove"?, "guard"?, "drill"?}   what it would take, and what does not keep them from moving
snapshot {"drill", "packages", "may_remove"?, "gpus"?}          manifest {"drill"}
compare {"drill", "done"?}   restore {"drill", "within_s"?}
verify {"packages"?, "drill"?, "against"?, "gpus"?, "gpus_error"?}
gaps {"packages"}   install {"packages", "may_remove"?, "within_s"?}
"""

from typing import Dict, List

from chaosgpu.agent import values
from chaosgpu.agent.packages import asked, engine, guard, lifecycle
from chaosgpu.agent.packages.engine import Verb
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.packages.verify import verify
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["VERBS", "main"]


def _gaps(request: JsonMapping, tools: Tools) -> JsonObject:
    found = guard.gaps(tools, asked.versions(request))
    return {"gaps": [*found], "ok": not found}


def _only(verb: Verb, *keys: str) -> Verb:
    """Refuse keys that nobody reads: a misspelt one must not be ignored."""
    allowed = frozenset({"protocol", "operator", "check", *keys})

    def run(request: JsonMapping, tools: Tools) -> JsonObject:
        values.only(request, "the request", allowed)
        return verb(request, tools)

    return run


VERBS: Dict[str, Verb] = {
    "plan": _only(lifecycle.show, "packages", "may_remove", "guard", "drill"),
    "snapshot": _only(lifecycle.snapshot, "drill", "packages", "may_remove", "gpus"),
    "manifest": _only(lifecycle.manifest, "drill"),
    "compare": _only(lifecycle.compare, "drill", "done"),
    "restore": _only(lifecycle.put_back, "drill", "within_s"),
    "verify": _only(verify, "packages", "drill", "against", "gpus", "gpus_error"),
    "gaps": _only(_gaps, "packages"),
    "install": _only(lifecycle.install, "packages", "may_remove", "within_s"),
}


def main(words: List[str]) -> int:
    """Carry out one verb; 0 if standard output holds the answer."""
    return engine.main(words, VERBS)
