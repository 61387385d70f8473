# SPDX-License-Identifier: Apache-2.0
"""What is left behind on this host, of ours and of others."""

from typing import Dict, List

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.readings.catalogue import Answer, Tools, reading
from chaosgpu.agent.residue.finding import FOREIGN, OURS, families
from chaosgpu.agent.residue.look import look
from chaosgpu.agent.values import JsonMapping, JsonValue

_OWNERS = (OURS, FOREIGN)


@reading("residue", frozenset({"owner"}))
def residue(params: JsonMapping, tools: Tools) -> Answer:
    """Return every finding, how many kinds were looked for, and the seconds that took; `owner` asks for one sort.

    A family that could not be looked at wholly is in `unknown` with the reasons: it is not known to be clean.
    """
    owner = values.optional_text(params, "owner")
    if owner is not None and owner not in _OWNERS:
        raise BadRequest(f"owner must be one of {', '.join(_OWNERS)}, not {owner!r}.")
    if tools.scene is None:
        raise BadRequest("The reading residue needs a whole host; it is taken with the verb read alone.")
    start_s = tools.clock.boottime_s()
    found = look(tools.scene, owner)
    findings: List[JsonValue] = [finding.to_json() for finding in found.findings]
    unknown: Dict[str, JsonValue] = {name: "; ".join(why) for name, why in found.unknown.items()}
    asked = families(owner)
    return Answer(
        {
            "findings": findings,
            "families": len(asked),
            "kinds": sum(len(one.kinds) for one in asked),
            "took_s": round(tools.clock.boottime_s() - start_s, 3),
        },
        unknown,
    )
