# SPDX-License-Identifier: Apache-2.0
"""What is left behind on this host, as checks: worst first, each with how to put it right by hand."""

from typing import List

from chaosgpu.agent.residue.finding import UNKNOWN, families
from chaosgpu.agent.residue.look import look
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonValue

__all__ = ["residue_checks"]

_WHOSE = {
    "ours": "It is of this tool.",
    "foreign": "It is not of this tool.",
    "unknown": "It may be meant.",
}


def residue_checks(scene: Scene) -> List[JsonValue]:
    """Return one check a finding, one for each family that could not be looked at, and one for the rest.

    In a lab, whose home is one folder, what is found elsewhere on the machine is shown and fails nothing.
    """
    found = look(scene)
    checks: List[JsonValue] = []
    for finding in sorted(found.findings, key=lambda one: (one.owner == UNKNOWN, one.owner, one.kind)):
        elsewhere = scene.home.limited and finding.owner == "foreign"
        detail = f"{finding.what} ({finding.where}). {_WHOSE[finding.owner]}"
        checks.append({
            "name": f"residue {finding.kind}",
            "ok": None if finding.owner == UNKNOWN or elsewhere else False,
            "detail": detail,
            "by_hand": finding.by_hand,
            "group": "residue",
        })  # fmt: skip
    for name, reasons in sorted(found.unknown.items()):
        detail = f"It could not be looked at wholly: {'; '.join(reason.rstrip('.') for reason in reasons)}."
        checks.append({"name": f"residue in {name}", "ok": None, "detail": detail, "group": "residue"})
    looked = [one for one in families() if one.name not in found.unknown]
    kinds = sum(len(one.kinds) for one in looked)
    detail = f"{len(found.findings)} findings; {kinds} kinds in {len(looked)} families were looked for wholly."
    checks.append({"name": "residue", "ok": True if not found.findings else None, "detail": detail, "group": "residue"})
    return checks
