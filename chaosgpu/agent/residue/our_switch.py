# SPDX-License-Identifier: Apache-2.0
"""The kill switch, which stays on until a person turns it off, and one whose writing was cut off."""

from chaosgpu.agent.residue.finding import OURS, UNKNOWN, Found, family
from chaosgpu.agent.residue.scene import Scene

_KINDS = {"halt.latched": "the kill switch is on: no new fault is taken"}


@family("our switch", OURS, _KINDS)
def our_switch(scene: Scene, found: Found) -> None:
    """Look for its files; the name alone latches. A person meant it, so it is nobody's mistake."""
    for path in scene.halt_files:
        if scene.status(path) is not None:
            why = (scene.text(path) or "").strip()[:200] or "no reason given"
            by_hand = "chaosgpu resume --reason WHY, when the reason is gone"
            found.add("halt.latched", f"the host was halted: {why}", path, by_hand, owner=UNKNOWN)
