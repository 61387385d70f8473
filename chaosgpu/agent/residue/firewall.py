# SPDX-License-Identifier: Apache-2.0
"""Packets that are thrown away by chance, by a tool's own chain, or on the way out to one named place."""

import json
from typing import Dict, Iterator, List, Optional, Tuple

from chaosgpu.agent.residue.finding import FOREIGN, UNKNOWN, Found, Unlooked, family
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonObject, JsonValue

_KINDS = {
    "firewall.by_chance": "a rule that throws packets away by chance",
    "firewall.tool": "a chain or rule with the name of a fault tool",
    "firewall.out_dropped": "a rule that throws away what goes out to a named address or port",
    "firewall.in_dropped": "a rule that throws away what comes in at one named port",
    "firewall.legacy_by_chance": "a rule of the old iptables that throws packets away by chance",
    "firewall.legacy_tool": "a chain of the old iptables with the name of a fault tool",
    "firewall.legacy_out_dropped": "a rule of the old iptables that throws away what goes out to a named place",
}
_TOOLS = ("chaos", "blade", "pumba", "litmus", "gremlin", "toxi", "partition")
_LEGACY = "/proc/net/ip_tables_names"


@family("firewall", FOREIGN, _KINDS)
def firewall(scene: Scene, found: Found) -> None:
    """Read the rules; a firewall that refuses by default is none of these."""
    for part in (_nft, _legacy):
        found.part(part, scene)


def _nft(scene: Scene, found: Found) -> None:
    try:
        listed = json.loads(scene.said("nft", "-j", "list", "ruleset"))["nftables"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unlooked(f"nft did not answer in JSON ({error}); it is too old") from error
    items: List[Tuple[str, JsonObject]] = [
        pair for item in listed for pair in item.items() if isinstance(pair[1], dict)
    ]
    hooks = {_place(chain): str(chain.get("hook", "")) for kind, chain in items if kind == "chain"}
    for kind, item in items:
        if kind in ("table", "chain") and _of_tool(str(item.get("name"))):
            where = " ".join(str(item.get(key)) for key in ("family", "table", "name") if key in item)
            by_hand = f"nft delete {kind} {where}"
            found.add("firewall.tool", f"{kind} {item.get('name')}", where, by_hand)
        if kind == "rule":
            _rule(item, hooks.get(_place(item, "chain"), ""), found)


def _rule(rule: JsonObject, hook: str, found: Found) -> None:
    words = json.dumps(rule.get("expr", []))
    if '"drop"' not in words and '"reject"' not in words:
        return
    place = " ".join(str(rule.get(key)) for key in ("family", "table", "chain"))
    where = f"{place} handle {rule.get('handle')}"
    by_hand = f"nft delete rule {where}"
    named = '"daddr"' in words or '"dport"' in words
    if ('"numgen"' in words and '"random"' in words) or '"statistic"' in words:
        found.add("firewall.by_chance", f"a rule of {place} drops by chance", where, by_hand)
    elif _of_tool(str(rule.get("comment", ""))):
        found.add("firewall.tool", f"a rule of {place}: {rule.get('comment')}", where, by_hand)
    elif named and hook == "output":
        found.add("firewall.out_dropped", f"{_match(rule)} is dropped in {place}", where, by_hand, owner=UNKNOWN)
    elif '"dport"' in words and hook == "input" and "set" not in words:
        found.add("firewall.in_dropped", f"{_match(rule)} is dropped in {place}", where, by_hand, owner=UNKNOWN)


def _match(rule: JsonObject) -> str:
    expressions = rule.get("expr")
    shown = []
    for item in expressions if isinstance(expressions, list) else []:
        match = item.get("match") if isinstance(item, dict) else None
        if isinstance(match, dict):
            shown.append(f"{_field(match.get('left'))} {json.dumps(match.get('right'))}")
    return ", ".join(shown) or "a rule"


def _field(left: JsonValue) -> str:
    payload = left.get("payload") if isinstance(left, dict) else None
    return str(payload.get("field")) if isinstance(payload, dict) else "a field"


def _place(item: JsonObject, name: str = "name") -> Tuple[str, ...]:
    return tuple(str(item.get(key)) for key in ("family", "table", name))


def _of_tool(name: str) -> bool:
    return any(tool in name.lower() for tool in _TOOLS)


def _legacy(scene: Scene, found: Found) -> None:
    """Read the old tables, which nft does not show; where the kernel has none loaded there are none."""
    if not (scene.text(_LEGACY) or "").strip():
        return
    for table, rule in _saved(scene):
        words = rule.split()
        named: Dict[str, Optional[str]] = {
            key: words[words.index(key) + 1] if key in words[:-1] else None for key in ("-A", "-N", "-j")
        }
        where, by_hand = f"{table} {rule}", f"iptables-legacy -t {table} -D {' '.join(words[1:])}"
        if _of_tool(named["-N"] or "") or (rule.startswith(":") and _of_tool(words[0])):
            found.add("firewall.legacy_tool", rule, where, f"iptables-legacy -t {table} -F and -X of that chain")
        if named["-A"] is None or named["-j"] not in ("DROP", "REJECT"):
            continue
        if "statistic" in words or "--probability" in words:
            found.add("firewall.legacy_by_chance", rule, where, by_hand)
        elif named["-A"] == "OUTPUT" and ("-d" in words or "--dport" in words):
            found.add("firewall.legacy_out_dropped", rule, where, by_hand, owner=UNKNOWN)


def _saved(scene: Scene) -> Iterator[Tuple[str, str]]:
    table = "filter"
    for line in scene.said("iptables-legacy-save").splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(("-", ":")):
            yield table, line.strip()
