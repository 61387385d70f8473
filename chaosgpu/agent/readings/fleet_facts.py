# SPDX-License-Identifier: Apache-2.0
"""What a host is made of, in one call, to be compared with other hosts and with a lock file."""

from chaosgpu.agent.readings.catalogue import Answer, Tools, reading
from chaosgpu.agent.values import JsonMapping

_KEYS = frozenset({"root", "sections", "services", "environments", "engines", "triton"})


@reading("fleet.facts", _KEYS)
def fleet_facts(params: JsonMapping, tools: Tools) -> Answer:
    """Return every section, or those that are named; `services`, `environments`, `engines` say what else to look at."""
    from chaosgpu.agent.facts.document import document  # noqa: PLC0415 (no other reading should pay for it)

    return document(params, tools)
