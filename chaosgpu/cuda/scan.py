# SPDX-License-Identifier: Apache-2.0
"""One scan of a fleet: hosts against the lock file or against each other, and each against itself."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosgpu.cuda.compare import Difference, Outlier, Unread, against_lock, due_of, outliers
from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.flat import flat
from chaosgpu.cuda.rules import Finding, Level, findings
from chaosgpu.errors import ChaosGpuError

if TYPE_CHECKING:
    from chaosgpu.cuda.lock import Lock

__all__ = ["CLEAN", "DRIFT", "UNKNOWN", "Scan", "scan"]

# 2 is every command's code for an error.
CLEAN, DRIFT, UNKNOWN = 0, 1, 3
_PAIR = 2
_OLD = dt.timedelta(days=180)


@dataclass(frozen=True)
class Scan:
    """What was found; `silent` are hosts that gave no answer, and why."""

    hosts: Sequence[str]
    compared_with: str
    differences: Sequence[Difference]
    outliers: Sequence[Outlier]
    findings: Sequence[Finding]
    unread: Sequence[Unread]
    silent: Mapping[str, str]
    notes: Sequence[str]

    @property
    def exit_code(self) -> int:
        """0 no drift, 1 drift, 3 no drift that is known, but not all is known."""
        breaks = any(one.level is Level.BREAKS for one in self.findings)
        if self.differences or self.outliers or breaks:
            return DRIFT
        return UNKNOWN if self.unread or self.silent else CLEAN


def scan(
    answers: Mapping[str, Facts | ChaosGpuError], lock: "Lock | None", data: Compatibility, today: dt.date
) -> Scan:
    """Judge the answers of hosts. With a lock file every host must be in it, and every host in it be asked."""
    facts = [one for one in answers.values() if isinstance(one, Facts)]
    silent = {host: str(error) for host, error in answers.items() if isinstance(error, ChaosGpuError)}
    levelled = [flat(one) for one in facts]
    differences: list[Difference] = []
    unread: list[Unread] = []
    odd: list[Outlier] = []
    notes = []
    if lock is not None:
        for host in levelled:
            differs, unknown = against_lock(due_of(lock, host.host, today), host)
            differences += differs
            unread += unknown
        missing = [host for group in lock.groups.values() for host in group.hosts if host not in answers]
        if missing:
            notes.append(f"not asked, though in the lock file: {', '.join(missing)}")
        over = [host for host, one in lock.exceptions.items() if one.until is not None and one.until < today]
        notes += [f"the exception for {host} ended on {lock.exceptions[host].until}" for host in over]
    if today - data.recorded > _OLD:
        notes.append(f"the compatibility data is of {data.recorded}: what is newer than that is unknown to it")
    if lock is None:
        odd = outliers(levelled)
        if len(levelled) == 1:
            notes.append("one host and no lock file: it is compared with itself alone")
        elif len(levelled) == _PAIR:
            notes.append("two hosts and no lock file: where they differ, nobody has a majority")
    return Scan(
        [*answers],
        "the lock file" if lock is not None else "each other" if len(answers) > 1 else "itself",
        differences,
        odd,
        [one for host in facts for one in findings(host, data)],
        unread,
        silent,
        notes,
    )
