# SPDX-License-Identifier: Apache-2.0
"""What a run has left on its hosts after the last sweep, by one reading of the agent's, which changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.run import Run

__all__ = ["LeftBehind", "left_behind"]


@dataclass(frozen=True)
class LeftBehind:
    """What of this run's is left, as sentences; `unknown` says why that could not be seen wholly."""

    found: tuple[str, ...] = ()
    unknown: str | None = None


def left_behind(run: Run, residue: Mapping[str, JsonObject | ChaosGpuError]) -> LeftBehind:
    """Keep what belongs to a lease of this run of what each host said; an open lease is told already."""
    ended = [lease for lease in run.book.all() if not lease.open]
    hosts = sorted({lease.host for lease in ended})
    found: list[str] = []
    unknown: list[str] = []
    for host in hosts:
        answer = residue[host]
        leases = {lease.lease for lease in ended if lease.host == host}
        left = LeftBehind(unknown=str(answer)) if isinstance(answer, ChaosGpuError) else _read(answer, leases)
        on_host = f"{host}: " if len(hosts) > 1 else ""
        found += [f"{on_host}{sentence}" for sentence in left.found]
        unknown += [f"{on_host}{left.unknown}"] if left.unknown else []
    return LeftBehind(tuple(found), "; ".join(unknown) or None)


def _read(answer: JsonObject, leases: set[str]) -> LeftBehind:
    """Read one host's answer."""
    values, unknown = answer.get("values"), answer.get("unknown")
    findings = values.get("findings") if isinstance(values, dict) else None
    if not isinstance(findings, list):
        return LeftBehind(unknown="the agent's reading has no findings")
    found = [_sentence(one) for one in findings if isinstance(one, dict) and one.get("lease") in leases]
    why = "; ".join(f"{name}: {text}" for name, text in unknown.items()) if isinstance(unknown, dict) else ""
    return LeftBehind(tuple(found), why or None)


def _sentence(finding: JsonObject) -> str:
    return (
        f"{finding.get('kind')} of lease {finding.get('lease')} is left ({finding.get('where')}): "
        f"{finding.get('what')}; by hand: {finding.get('by_hand')}"
    )
