# SPDX-License-Identifier: Apache-2.0
"""Random walks of a driver change on a host: whole and partial upgrades, kills in any script, failing scripts, reboots.

A walk is made of its number alone. It holds where the host is afterwards as it was before, to every file's digest.
"""

import random
import time
from dataclasses import dataclass
from typing import Any

from bench import packages
from bench.hosts import Host
from bench.packages import APPLY_S, WHO, Gate
from support.debs import FIRST, LATER, SCRIPTS

__all__ = ["Walk", "play"]

_TARGETS: tuple[dict[str, str], ...] = (
    {"nvidia-open": LATER, "nvidia-fabricmanager": LATER},
    {"nvidia-open": FIRST},
    {"nvidia-open": LATER},
    {"nvidia-fabricmanager": FIRST},  # by itself: apt takes along what is of the same source
    {"nvidia-utils": LATER, "nvidia-open": LATER},
)
# Who has scripts that run on the way from the old driver to a later one; the new package has no old scripts.
_CAUGHT = ("nvidia-utils", "nvidia-kernel-open", "libnvidia-compute", "nvidia-open", "nvidia-fabricmanager")
_WAYS = ("kill", "kill", "kill", "fail", "quiet")
_ENDS = ("undo", "undo", "reboot", "plug", "deadline")


@dataclass(frozen=True)
class Walk:
    """What one walk was, and what it left."""

    number: int
    steps: tuple[str, ...]
    states: tuple[str, ...]
    ended: str
    difference: tuple[str, ...]
    took_s: float

    @property
    def well(self) -> bool:
        """Tell whether the host is as it was, and the lease says so."""
        return self.ended == "clean" and not self.difference


def play(host: Host, number: int) -> Walk:
    """Walk once on a host that has the old driver; the repository is gone before the way back."""
    dice = random.Random(f"chaosgpu packages {number}")
    start = time.monotonic()
    before = packages.seen(host)
    target, way, end = dice.choice(_TARGETS), dice.choice(_WAYS), dice.choice(_ENDS)
    ordered = packages.order(target, 30.0 if end == "deadline" and way == "quiet" else 300.0)
    steps = [" ".join(f"{name}={wanted}" for name, wanted in target.items()), way]
    states: list[str] = []
    if way == "kill":
        gate, who = Gate(dice.choice(_CAUGHT), dice.choice(SCRIPTS)), dice.choice(WHO)
        steps.append(f"{who} in {gate}")
        states = packages.apply_and_kill(host, ordered, gate, who)
    else:
        if way == "fail":
            gate = Gate(dice.choice(_CAUGHT), "postinst")
            steps.append(str(gate))
            failing = f"mkdir -p /run/gate; touch /run/gate/fail.{gate}.{next(iter(target.values()))}"
            host.run(["sh", "-c", failing], check=True)
        host.agent("apply", ordered, timeout_s=APPLY_S)
    host.run(["sh", "-c", f"rm -rf /run/gate; mv {packages.REPOSITORY} {packages.REPOSITORY}.gone"], check=True)
    steps.append(end)
    ended = _end(host, ordered, end)
    host.run(["mv", f"{packages.REPOSITORY}.gone", packages.REPOSITORY], check=True)
    after = packages.seen(host)
    rows = {*before.splitlines()} ^ {*after.splitlines()}
    took_s = round(time.monotonic() - start, 2)
    return Walk(number, tuple(steps), tuple(states), ended, tuple(sorted(rows)[:10]), took_s)


def _end(host: Host, ordered: dict[str, Any], end: str) -> str:
    """End it one way or the other; a host that was killed in the middle may have ended it already."""
    if end == "reboot":
        host.reboot()
    elif end == "plug":
        host.kill()
        host.power_on()
    elif end == "undo":
        host.agent("undo", {"lease": ordered["lease"]}, timeout_s=APPLY_S)
    known = host.agent("record", {"lease": ordered["lease"]})
    if "error" in known:
        return "clean" if "There is no lease" in known["error"]["message"] else str(known["error"])
    if end == "deadline" and known["state"]["state"] == "active" and ordered["ttl_s"] > 60:
        host.agent("undo", {"lease": ordered["lease"]}, timeout_s=APPLY_S)
    found = packages.wait_clean(host, ordered["lease"], 150.0)
    return "clean" if found["state"] == "clean" else f"{found['state']}: {found['reason']}"
