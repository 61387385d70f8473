# SPDX-License-Identifier: Apache-2.0
"""What drills write to the site's evidence log and read of it: one function an entry.

A drill is one attempt (`series`), and each of its runs is one more inside it, named after it: the bundle of a run is
found by its own attempt, and a drill of several runs that was cut off lacks its own end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaosgpu.drill.approval import Approval, statement
from chaosgpu.drill.planfile import Written
from chaosgpu.errors import Refused
from chaosgpu.evidence.kept import keep
from chaosgpu.evidence.log import EvidenceLog, read_raw
from chaosgpu.evidence.log_rules import Log, read_log
from chaosgpu.evidence.register import aborted, approved, finished, planned, residue, skipped, started
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.history import load

__all__ = ["Record", "Series"]


@dataclass(frozen=True)
class Series:
    """One drill that is under way: its plan's name, its own name, and what every entry of it says."""

    drill: str
    name: str


class Record:
    """The site's evidence log, as drills use it."""

    def __init__(self, directory: Path, now: Callable[[], datetime]) -> None:
        self.directory = directory
        self._log = EvidenceLog(directory, now)

    def read(self) -> Log:
        """Read and check the log."""
        return read_log(*read_raw(self.directory))

    def trusted(self) -> Log:
        """Read the log; Refused where it does not hold: a gate that is read from it would prove nothing."""
        found = self.read()
        if found.problems and not (len(found.problems) == 1 and "is torn" in found.problems[0]):
            raise Refused(
                f"The evidence log in {self.directory} does not hold: {found.problems[0]} No drill starts on it; keep "
                "it as it is, and see `chaosgpu evidence log`."
            )
        return found

    def planned(self, written: Written, **more: JsonValue) -> bool:
        """Note a plan, once; return whether it was new."""
        plan = written.plan
        before = [one for one in self.read().entries if one["type"] == "planned" and one["drill"] == plan.drill]
        if "schedule" in more:  # only the last one counts: it may have been ended meanwhile
            before = [one for one in before if "schedule" in one][-1:]
            before = [one for one in before if one["schedule"] == more["schedule"]]
        if any(one.get("plan_sha256") == written.sha256 for one in before):
            return False
        keep(self.directory, written.raw)
        planned(
            self._log, plan.drill, written.sha256, title=plan.title, scope=plan.scope, level=plan.level,
            operator=plan.operator, change_id=plan.change_id, hosts=[*plan.hosts.names], **more,
        )  # fmt: skip
        return True

    def approved(self, written: Written, approval: Approval) -> None:
        """Note an approval that was checked, once."""
        said = (written.plan.drill, written.sha256, approval.by, approval.signature_sha256)
        for one in self.read().entries:
            found = tuple(one.get(key) for key in ("drill", "plan_sha256", "by", "signature_sha256"))
            if one["type"] == "approved" and found == said:
                return
        keep(self.directory, approval.signature)
        statement_sha256 = keep(self.directory, statement(written))
        approved(self._log, *said, statement_sha256=statement_sha256, key=approval.key)

    def series_started(self, series: Series, written: Written, **more: JsonValue) -> None:
        """Note that a drill begins."""
        plan = written.plan
        started(
            self._log, series.drill, series.name, written.sha256, series=True, scope=plan.scope, level=plan.level,
            change_id=plan.change_id, hosts=[*plan.hosts.names], **more,
        )  # fmt: skip

    def run_started(self, series: Series, number: int, plan_sha256: str, **more: JsonValue) -> str:
        """Note that one of its runs begins, before its first fault; return the name of this attempt."""
        attempt = f"{series.name}.{number}"
        started(self._log, series.drill, attempt, plan_sha256, part_of=series.name, **more)
        return attempt

    def run_ended(self, series: Series, attempt: str, directory: Path | None, why_none: str) -> None:
        """Note how a run ended."""
        if directory is None:
            aborted(self._log, series.drill, attempt, why_none, part_of=series.name)
        else:
            finished(self._log, series.drill, attempt, directory, part_of=series.name)

    def residue(self, series: Series, attempt: str, host: str, what: str) -> None:
        """Note what a run has left on a host."""
        residue(self._log, series.drill, attempt, host, what)

    def series_finished(self, series: Series, verdict: str, reason: str, **more: JsonValue) -> None:
        """Note that all of a drill was played."""
        nothing: JsonObject = {"run": "", "verdict": verdict, "ledger_lines": 0, "ledger_sha256": ""}
        self._log.append("finished", series.drill, series.name, **nothing, reason=reason, series=True, **more)

    def series_aborted(self, series: Series, reason: str, **more: JsonValue) -> None:
        """Note that a drill ended before all of it was played."""
        aborted(self._log, series.drill, series.name, reason, None, series=True, **more)

    def run_lost(self, series: Series, attempt: str, reason: str, directory: Path | None) -> None:
        """Note how a run ended whose drill died: it may have come to its own end all the same."""
        if directory is not None and load(directory).ended:
            finished(self._log, series.drill, attempt, directory, part_of=series.name, drill_died=True)
        else:
            aborted(self._log, series.drill, attempt, reason, directory, part_of=series.name)

    def skipped(self, drill: str, due: str, reason: str, **more: JsonValue) -> None:
        """Note that a drill was due and was not begun."""
        skipped(self._log, drill, due, reason, **more)
