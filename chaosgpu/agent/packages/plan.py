# SPDX-License-Identifier: Apache-2.0
"""What a change of packages would do, told by apt's own simulation under a policy that is nowhere on disk."""

import re
from dataclasses import asdict, dataclass
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.policy import CHANGE_PRIORITY, pins, with_host
from chaosgpu.agent.packages.status import stanzas
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonObject

__all__ = [
    "FORCES", "Change", "Plan", "parse_simulation", "plan", "refuse_harm", "refuse_unfinished", "sources", "with_same",
]  # fmt: skip

WITHIN_S = 60.0
_HALF_DONE = {"dpkg": "`dpkg --configure -a`, or `apt-get -f install`,", "rpm": "`dnf check` tells what, and mend it"}
FORCES = ("-q", "-y", "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages", "--ignore-hold")
_INSTALL = re.compile(r"Inst (\S+)(?: \[([^\]]+)\])? \((\S+) ")
_REMOVE = re.compile(r"(?:Remv|Purg) (\S+)(?: \[([^\]]+)\])?")
# What holds the host together, what brings us to it, and what the way back itself needs.
_NEVER = re.compile(
    r"(apt|apt-utils|base-files|bash|coreutils|dash|dpkg|init|init-system-helpers|libapt-pkg[\d.]+\w*|libc6|libc-bin|"
    r"libssl\d\S*|openssh-server|passwd|perl-base|python3|python3(\.\d+)?-minimal|python3\.\d+|libpython3\S*|sudo|systemd|"
    r"systemd-sysv|tar|util-linux|zlib1g)(:\S+)?"
)
_NEVER_OF_RPM = re.compile(
    r"(audit-libs|basesystem|bash|coreutils\S*|dnf|dnf-data|dnf-plugins-core|filesystem|glibc\S*|krb5-libs|libcap|libdnf|"
    r"libgcc|librepo|libselinux|libsolv|openssh|openssh-server|openssl-libs|pam|passwd|popt|python3|python3\.\d+|"
    r"python3-(libs|dnf\S*|hawkey|libdnf|rpm)|redhat-release|rocky-release|almalinux-release|rpm|rpm-libs|setup|"
    r"shadow-utils|sqlite-libs|sudo|systemd|systemd-libs|tar|util-linux\S*|xz-libs|zlib)(\.\w+)?"
)


@dataclass(frozen=True)
class Change:
    """One package that would change; None is: not on the host."""

    name: str
    before: Optional[str]
    after: Optional[str]
    kind: str  # new, upgrade, downgrade, remove, same


@dataclass(frozen=True)
class Plan:
    """All changes of one transaction, in order of name."""

    changes: Tuple[Change, ...]

    @property
    def moving(self) -> Tuple[Change, ...]:
        """Those that the transaction touches; the others are only watched."""
        return tuple(change for change in self.changes if change.kind != "same")

    def to_json(self) -> JsonObject:
        """Return it by kind, for people and records."""
        found: JsonObject = {}
        for kind in ("new", "upgrade", "downgrade", "remove"):
            rows = [asdict(change) for change in self.changes if change.kind == kind]
            found[kind] = [f"{row['name']} {row['before'] or '-'} -> {row['after'] or '-'}" for row in rows]
        return found


def parse_simulation(said: str) -> Dict[str, Tuple[Optional[str], Optional[str]]]:
    """Read what `apt-get -s` would install and remove: name to version before and after."""
    found: Dict[str, Tuple[Optional[str], Optional[str]]] = {}
    for line in said.splitlines():
        install, remove = _INSTALL.match(line), _REMOVE.match(line)
        if install:
            name, before, after = install.groups()
            earlier = found.get(name, (None, None))[0]
            found[name] = (earlier or before, after)
        elif remove:
            name, before = remove.groups()
            found[name] = (before or found.get(name, (None, None))[0], None)
    return found


def plan(tools: Tools, facts: Facts, wanted: Mapping[str, str]) -> Plan:
    """Return what it would take to have these packages in these versions; Refused where apt finds no way.

    The host's lists of packages decide what there is; they are not refreshed here.
    """
    if tools.rpm:
        from chaosgpu.agent.packages.rpm import dnf  # noqa: PLC0415 (most hosts are of the other kind)

        listed = dnf.changes(tools, wanted)
        _see_whole(listed, facts, wanted)
        return Plan(tuple(listed))
    options, preferences = with_host(tools, pins(wanted, sources(tools, wanted), CHANGE_PRIORITY))
    named = [f"{name}={version}" for name, version in sorted(wanted.items())]
    said = tools.run(tools.apt("apt-get", *options, "-s", *FORCES, "install", *named), WITHIN_S, stdin=preferences)
    if not said.well:
        raise Refused(
            f"apt finds no way to {', '.join(named)} on this host, and nothing was changed. {said.sentence()}. Are the "
            "lists of packages fresh (`apt-get update`), and is every package named that has to move along?"
        )
    changes = [
        Change(name, before, after, _kind(tools, before, after))
        for name, (before, after) in sorted(parse_simulation(said.out).items())
        if before != after
    ]
    _see_whole(changes, facts, wanted)
    return Plan(tuple(changes))


def with_same(found: Plan, facts: Facts, names: Iterable[str]) -> Plan:
    """Return a plan that watches these packages too, which are there and stay as they are."""
    known = {change.name for change in found.changes}
    same = [one for one in (facts.there(name) for name in sorted(names)) if one is not None and one.name not in known]
    added = [Change(one.name, one.version, one.version, "same") for one in same]
    return Plan(tuple(sorted([*found.changes, *added], key=lambda change: change.name)))


def refuse_unfinished(facts: Facts) -> None:
    """Refuse a host on which dpkg has left work half-done."""
    if facts.unfinished:
        raise Refused(
            f"{facts.manager} has left work half-done on this host ({', '.join(facts.unfinished[:5])}): "
            f"{_HALF_DONE[facts.manager]} first; nothing was changed."
        )


def refuse_harm(found: Plan, facts: Facts, may_remove: Sequence[str]) -> None:
    """Refuse a plan that removes what nobody named, or that touches what holds the host and the way back together."""
    gone = [change.name for change in found.changes if change.kind == "remove" and change.name not in may_remove]
    if gone:
        raise Refused(
            f"{_says(facts)} would remove {', '.join(gone)} for it, and nothing was changed. Name them in may_remove, "
            "or name versions that can stay together."
        )
    never = _NEVER_OF_RPM if facts.manager == "rpm" else _NEVER
    vital = [change.name for change in found.changes if never.fullmatch(change.name) or _essential(change, facts)]
    if vital:
        raise Refused(f"It would change {', '.join(vital)}, which this host and the way back stand on; it is not done.")
    left = [change.name for change in found.changes if change.before is None and change.name in facts.packages]
    if left:
        raise Refused(
            f"{', '.join(left)} was removed and has left its configuration, a state that no package file brings back. "
            "Purge it, or install it, first; nothing was changed."
        )


def _essential(change: Change, facts: Facts) -> bool:
    one = facts.packages.get(change.name)
    return one is not None and one.essential


def _see_whole(changes: Sequence[Change], facts: Facts, wanted: Mapping[str, str]) -> None:
    """Refuse where what apt says does not fit dpkg's own record, or what was asked for."""
    for change in changes:
        there = facts.there(change.name)
        if (None if there is None else there.version) != change.before:
            asked = _says(facts)
            raise Unanswered(
                f"{asked} and {facts.manager} do not agree: {asked} has {change.name} {change.before} for installed."
            )
    ends = {change.name: change.after for change in changes}
    for name, version in wanted.items():
        there = facts.there(name)
        would = ends.get(name, None if there is None else there.version)
        if would != version:
            epoch = f" Its whole version is {would}: write the epoch." if str(would).endswith(f":{version}") else ""
            raise Refused(f"{_says(facts)} would not bring {name} to {version}; nothing was changed.{epoch}")


def _says(facts: Facts) -> str:
    return "dnf" if facts.manager == "rpm" else "apt"


def sources(tools: Tools, wanted: Mapping[str, str]) -> Dict[str, str]:
    """Return the source of each wanted package as the host's lists have it."""
    named = [f"{name}={version}" for name, version in sorted(wanted.items())]
    said = tools.run(tools.apt("apt-cache", "show", *named), WITHIN_S)
    shown: List[Dict[str, str]] = list(stanzas(said.out))
    return {row["Package"]: row.get("Source", row["Package"]).split(" ")[0] for row in shown if "Package" in row}


def _kind(tools: Tools, before: Optional[str], after: Optional[str]) -> str:
    if before is None or after is None:
        return "new" if before is None else "remove"
    lower = tools.run(("dpkg", "--compare-versions", after, "lt", before), WITHIN_S)
    return "downgrade" if lower.well else "upgrade"
