# SPDX-License-Identifier: Apache-2.0
"""Figures of the virtual machines, read from what `make vm-test` has noted."""

import json
from pathlib import Path

from figures import Figure, at_least, at_most, exactly, not_measured

__all__ = ["NOTED", "figures"]

NOTED = Path("figures") / "safety" / "vm.jsonl"
_AT_LEAST = {
    "leases over a reboot, in six states": 12,
    "leases over a pulled plug, in six states, with a wrong clock": 12,
    "plugs pulled during apply": 20,
}
_NONE = (
    "leases not put back after a reboot",
    "leases not put back after a pulled plug",
    "faults in force after a plug pulled during apply",
)
_IN_TIME = (
    "clean after the deadline, wall clock stepped",
    "clean after the deadline, network cut",
    "clean after the deadline, daemon-reload and re-exec",
    "clean after waking from suspend",
)
_BOUND_S = 5.0


def figures() -> list[Figure]:
    """Return each figure, of all that was noted the last; what nobody has measured does not hold."""
    lines = NOTED.read_text(encoding="utf-8").splitlines() if NOTED.exists() else []
    last = {noted["name"]: float(noted["value"]) for noted in map(json.loads, lines)}
    why = "make vm-test has not been run"
    return [
        *(
            at_least(name, last[name], "", target) if name in last else not_measured(name, "", f">= {target}", why)
            for name, target in _AT_LEAST.items()
        ),
        *(exactly(name, last[name], "", 0.0) if name in last else not_measured(name, "", "= 0", why) for name in _NONE),
        *(
            at_most(name, last[name], "s", _BOUND_S)
            if name in last
            else not_measured(name, "s", f"<= {_BOUND_S:g}", why)
            for name in _IN_TIME
        ),
    ]
