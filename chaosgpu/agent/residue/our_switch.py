# SPDX-License-Identifier: Apache-2.0
"""The kill switch, which stays on until a person turns it off, and toggles that nobody turned off."""

from chaosgpu.agent.residue.finding import OURS, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {
    "halt.latched": "the kill switch is on: no new fault is taken",
    "toggle.left": "the folder of a toggle whose lease does not live",
}
_RUN, _TOGGLE = "/run", "chaosgpu-cuda-errors-"


@family("our switch", OURS, _KINDS)
def our_switch(scene: Scene, found: Found) -> None:
    """Look for their files; the switch's name alone latches. A person meant it, so it is nobody's mistake."""
    for path in scene.halt_files:
        if scene.status(path) is not None:
            why = (scene.text(path) or "").strip()[:200] or "no reason given"
            by_hand = "chaosgpu resume --reason WHY, when the reason is gone"
            found.add("halt.latched", f"the host was halted: {why}", path, by_hand, owner=UNKNOWN)
    if scene.home.limited:
        return  # a lab has no units, and so no toggles
    for name in scene.names(_RUN):
        if name.startswith(_TOGGLE):
            lease, path = name[len(_TOGGLE) :], f"{_RUN}/{name}"
            if not any(known.lease == lease for known in scene.leases.live()):
                by_hand = f"rm -r {path}, then restart the unit that has the library preloaded"
                found.add("toggle.left", "its lease does not live", path, by_hand, lease=lease)
