# SPDX-License-Identifier: Apache-2.0
"""Read a run back from its directory: what was recorded, whether the record holds, and what it proves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument, LedgerBroken
from chaosgpu.fleet.inventory import Inventory, recorded_inventory
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.chain import parse, verify_chain
from chaosgpu.lease.directory import alive, every_run
from chaosgpu.lease.ledger import read_lines
from chaosgpu.lease.verdict import EXIT_CODES, STILL_RUNNING, Verdict

__all__ = ["Past", "PastLease", "find", "load"]

_LATEST = "latest"


@dataclass
class PastLease:
    """One lease as the ledger tells it."""

    lease: str
    fault: str = ""
    host: str = ""
    state: str = "reserved"
    observed: JsonObject = field(default_factory=dict)
    restored: JsonObject = field(default_factory=dict)
    expires_in_s: float | None = None
    # The end that no renewal moves; None in records that do not say it.
    max_duration_s: float | None = None
    was_active: bool = False
    reason: str | None = None
    # The pin of a lifecycle, which is put back after everything else, and not by the undo of the run.
    of_lifecycle: bool = False

    @property
    def open(self) -> bool:
        """Tell whether the ledger leaves it open."""
        return self.state not in ("clean", "refused", "never")


@dataclass(frozen=True)
class Past:
    """One run as its directory tells it; `verdict` is None while the run is under way."""

    directory: Path
    title: str
    started: str
    verdict: Verdict | None
    reason: str
    lost: bool
    # Whether the ledger has its last line.
    ended: bool
    leases: tuple[PastLease, ...]
    problems: tuple[str, ...]
    lines: int
    # The inventory of a run over several hosts.
    inventory: Inventory | None = None
    hosts: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Return the exit code of the one table; a record that does not hold up proves nothing."""
        if self.verdict is None:
            return STILL_RUNNING
        if self.problems and self.verdict in (Verdict.PASSED, Verdict.NONE, Verdict.DEVIATED):
            return EXIT_CODES[Verdict.INCONCLUSIVE]
        return EXIT_CODES[self.verdict]


def find(runs: Path, name: str | None) -> Path:
    """Find a run by its name or the beginning of it; the newest without one."""
    every = every_run(runs)
    if not every:
        raise BadArgument(f"There is no run in {runs}. Runs are looked for there or in CHAOSGPU_RUNS.")
    if name is None or name == _LATEST:
        return every[0]
    found = [path for path in every if path.name.startswith(name)]
    if len(found) != 1:
        what = "names no run" if not found else f"names {len(found)} runs"
        raise BadArgument(f"{name!r} {what} in {runs}; `chaosgpu runs` lists them.")
    return found[0]


def load(directory: Path) -> Past:
    """Read a run. One that neither ended nor lives was lost with its controller."""
    try:
        lines, torn = read_lines(directory / "ledger.jsonl")
    except LedgerBroken as error:
        verdict = None if alive(directory) else Verdict.INCONCLUSIVE
        return Past(
            directory, "", "", verdict, str(error), lost=False, ended=False, leases=(), problems=(str(error),), lines=0
        )
    entries = [entry for line in lines if (entry := parse(line)) is not None]
    problems = verify_chain(lines)
    if torn:
        problems.append(f"The last line is torn: {len(torn)} bytes without an end.")
    planned = next((entry for entry in entries if entry.get("type") == "run.planned"), {})
    finished = next((entry for entry in entries if entry.get("type") == "run.finished"), None)
    living = finished is None and alive(directory)
    verdict, reason = _verdict(finished, living=living)
    return Past(
        directory=directory,
        title=str(planned.get("title", "")),
        started=str(planned.get("at", "")),
        verdict=verdict,
        reason=reason,
        lost=not living if finished is None else finished.get("lost") is True,
        ended=finished is not None,
        leases=tuple(_leases(entries)),
        problems=tuple(problems),
        lines=len(lines),
        inventory=recorded_inventory(planned),
        hosts=tuple(sorted({host for entry in entries for host in _chosen(entry)})),
    )


def _chosen(entry: JsonObject) -> list[str]:
    """Return the hosts that a line says were chosen."""
    hosts = entry.get("hosts") if entry.get("type") in ("run.planned", "run.chosen") else None
    chosen = hosts.values() if isinstance(hosts, dict) else ()
    return [str(host) for names in chosen if isinstance(names, list) for host in names]


def _verdict(finished: Mapping[str, object] | None, *, living: bool) -> tuple[Verdict | None, str]:
    """Return what the run says of itself, or what its silence says."""
    if finished is not None:
        said = str(finished.get("verdict"))
        verdict = Verdict(said) if said in list(Verdict) else Verdict.INCONCLUSIVE
        return verdict, str(finished.get("reason"))
    if living:
        return None, "the run is under way"
    return Verdict.INCONCLUSIVE, "the run was lost: its controller ended without a verdict"


def _leases(entries: list[JsonObject]) -> list[PastLease]:
    """Follow each lease through the ledger."""
    found: dict[str, PastLease] = {}
    for entry in entries:
        kind, name = str(entry.get("type")), entry.get("lease")
        if not isinstance(name, str) or not kind.startswith("lease."):
            continue
        # A lifecycle has a lease of one name on each of its hosts.
        drill = entry.get("drill")
        key = name if drill is None else f"{name} {entry.get('host')}"
        lease = found.setdefault(key, PastLease(name, of_lifecycle=drill is not None))
        lease.fault = str(entry.get("fault") or lease.fault)
        lease.host = str(entry.get("host") or lease.host)
        state = kind.removeprefix("lease.")
        if state != "renewed":
            lease.state = "never" if entry.get("never_in_force") else state
        lease.was_active = lease.was_active or state == "active"
        observed, restored = entry.get("observed"), entry.get("restored")
        left = None if state == "renewed" else entry.get("expires_in_s")
        lease.observed = observed if isinstance(observed, dict) else lease.observed
        lease.restored = restored if isinstance(restored, dict) else lease.restored
        lease.expires_in_s = float(left) if isinstance(left, (int, float)) else lease.expires_in_s
        longest = entry.get("max_duration_s")
        lease.max_duration_s = float(longest) if isinstance(longest, (int, float)) else lease.max_duration_s
        reason = entry.get("reason")
        lease.reason = reason if isinstance(reason, str) else lease.reason
    return list(found.values())
