# SPDX-License-Identifier: Apache-2.0
"""Units of ours whose lease does not live, ones that failed, and drop-ins of ours that stayed."""

import re
from typing import Optional

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.residue.dropin_files import dropins
from chaosgpu.agent.residue.finding import OURS, Found, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.residue.systemd import shown, unit_names
from chaosgpu.agent.service.gate import Gate
from chaosgpu.agent.service.record import Record
from chaosgpu.agent.store import read_document

_KINDS = {
    "unit.timer": "a timer of ours without a live lease",
    "unit.reverter": "a reverter's service without a live lease",
    "unit.keeper": "a keeper's scope without a live lease",
    "unit.holder": "a holder's scope without a live lease",
    "unit.failed": "a unit of ours that has failed",
    "dropin.ours": "a drop-in of ours without a live lease",
}
_OF_LEASE = re.compile(r"chaosgpu-(?P<role>revert|keep|hold)-(?P<lease>.+)\.(?P<kind>timer|service|scope)")
_STAMP = re.compile(r"-\d+$")  # a keeper's scope has the time in its name
_ROLES = {
    ("revert", "timer"): "unit.timer",
    ("revert", "service"): "unit.reverter",
    ("keep", "scope"): "unit.keeper",
    ("hold", "scope"): "unit.holder",
}
_LEASE = re.compile(r"lease[ =:]+([A-Za-z0-9][A-Za-z0-9._-]*)")


@family("our units", OURS, _KINDS)
def our_units(scene: Scene, found: Found) -> None:
    """Ask systemd for all units of our name, and compare each with the lease that it names."""
    if not scene.has_systemd or scene.home.limited:
        return  # a lab and a host without systemd have none
    for path, text in dropins(scene):
        if ("chaosgpu" in path.rpartition("/")[2] or "chaosgpu" in text) and not _drained(path, text, scene):
            _dropin(path, text, scene, found)
    names = unit_names(scene, "chaosgpu-*")
    for name, unit in shown(scene, *names).items():
        if unit.get("ActiveState") == "failed":
            how = f"journalctl -u {name}; mend the cause, then systemctl reset-failed {name}"
            found.add("unit.failed", f"{name} has failed", name, how, lease=_lease_of(name, scene))
            continue
        match = _OF_LEASE.fullmatch(name)
        kind = _ROLES.get((match["role"], match["kind"])) if match else None
        if kind is None or unit.get("ActiveState") not in ("active", "activating", "reloading", "deactivating"):
            continue
        lease = _lease_of(name, scene)
        known = None if lease is None else scene.leases.of(scene.home.folder(lease))
        at_work = kind == "unit.reverter" and known is not None and not known.ended
        if known is None or not (known.live or at_work):
            found.add(kind, f"{name}: its lease does not live", name, f"systemctl stop {name}", lease=lease)


def _lease_of(unit: str, scene: Scene) -> Optional[str]:
    """Return the lease that a unit's name holds, as far as this host knows one of that name."""
    match = _OF_LEASE.fullmatch(unit)
    if match is None:
        return None
    whole = match["lease"]
    names = set(scene.home.lease_ids())
    return next((name for name in (whole, _STAMP.sub("", whole)) if name in names), None)


def _drained(path: str, text: str, scene: Scene) -> bool:
    """Tell whether it is what a drain on record has written: the return removes it, and nothing else should."""
    try:
        found = read_document(f"{scene.home.path}/service", "state")
        record = None if found is None else Record.from_json(found)
    except AgentError:  # the service room says so itself; until then nobody vouches for the file
        return False
    folder, _, unit = path.rpartition("/")[0].rpartition("/")
    gate = None if record is None else Gate(unit[: -len(".d")], record.drill, folder)
    return gate is not None and (path, text) == (gate.path, gate.text)


def _dropin(path: str, text: str, scene: Scene, found: Found) -> None:
    named = {match.group(1) for match in _LEASE.finditer(text + " lease=" + path.rpartition("/")[2])}
    known = {known.lease: known for known in scene.leases.all()}
    alive = any(known[lease].live for lease in known if lease in named or lease in path)
    if not alive:
        lease = next((lease for lease in known if lease in named or lease in path), None)
        unit = path.split("/")[-2][: -len(".d")]
        by_hand = f"rm {path}; systemctl daemon-reload; systemctl restart {unit}"
        found.add("dropin.ours", f"a drop-in of ours on {unit}", path, by_hand, lease=lease)
