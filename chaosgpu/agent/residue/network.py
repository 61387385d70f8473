# SPDX-License-Identifier: Apache-2.0
"""Delays, losses and dead ends in the network: queues, helper devices, routes and rules."""

import json
from typing import List

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonObject

_KINDS = {
    "qdisc.netem": "a network device with delay or loss put in (netem)",
    "qdisc.limit": "a network device that is slowed down (tbf)",
    "qdisc.redirect": "what comes in is redirected to another queue",
    "link.ifb": "a device through which incoming packets are slowed down",
    "route.dead_end": "a route that throws packets away",
    "rule.dead_end": "a rule that throws packets away",
}
_QDISCS = {"netem": "qdisc.netem", "tbf": "qdisc.limit"}
_UP = 0x1  # IFF_UP
_DEAD_ENDS = ("blackhole", "unreachable", "prohibit")


@family("network", FOREIGN, _KINDS)
def network(scene: Scene, found: Found) -> None:
    """Ask tc and ip; each on its own, so that one that is missing hides nothing of the other."""
    for part in (_qdiscs, _routes, _rules):
        found.part(part, scene)
    for name in scene.names("/sys/class/net"):
        # Some kernels make two of them at their start; only one that is up does anything.
        flags = (scene.text(f"/sys/class/net/{name}/flags") or "0").strip() if name.startswith("ifb") else "0"
        if int(flags, 16) & _UP:
            found.add("link.ifb", f"{name} is up", name, f"ip link set {name} down, when no queue leads to it")


def _qdiscs(scene: Scene, found: Found) -> None:
    for queue in _objects(scene.said("tc", "-j", "qdisc", "show"), "tc"):
        kind, device = str(queue.get("kind")), str(queue.get("dev"))
        if scene.leases.hold("net", device):
            continue
        if kind in _QDISCS:
            what = f"{device} has {kind} {json.dumps(queue.get('options', {}))[:120]}"
            where = f"{device} {queue.get('handle', '')}"
            by_hand = (
                f"tc qdisc del dev {device} {'root' if queue.get('root') else 'handle ' + str(queue.get('handle'))}"
            )
            found.add(_QDISCS[kind], what, where, by_hand)
        elif kind == "ingress":
            by_hand = f"tc filter show dev {device} ingress; tc qdisc del dev {device} ingress"
            found.add("qdisc.redirect", f"{device} has a queue for what comes in", device, by_hand, owner=UNKNOWN)


def _routes(scene: Scene, found: Found) -> None:
    for version in ("-4", "-6"):
        for route in _objects(scene.said("ip", "-j", version, "route", "show", "table", "all"), "ip"):
            kind, to = str(route.get("type")), str(route.get("dst"))
            # The kernel itself has such routes; without a prefix it is one host that somebody cut off.
            if kind in _DEAD_ENDS and route.get("protocol") in (None, "static", "boot") and to != "default":
                by_hand = f"ip {version} route del {kind} {to} table {route.get('table', 'main')}"
                owner = UNKNOWN if "/" in to else None
                found.add("route.dead_end", f"packets to {to} are thrown away ({kind})", to, by_hand, owner=owner)


def _rules(scene: Scene, found: Found) -> None:
    for version in ("-4", "-6"):
        for rule in _objects(scene.said("ip", "-j", version, "rule", "show"), "ip"):
            action = str(rule.get("action"))
            if action in _DEAD_ENDS:
                what = f"packets from {rule.get('src')} to {rule.get('dst', 'all')} are thrown away ({action})"
                where = f"rule {rule.get('priority')}"
                found.add("rule.dead_end", what, where, f"ip {version} rule del priority {rule.get('priority')}")


def _objects(said: str, program: str) -> List[JsonObject]:
    try:
        found = json.loads(said or "[]")
    except ValueError as error:
        raise Unlooked(f"{program} did not answer in JSON: {error}; it is too old") from error
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
