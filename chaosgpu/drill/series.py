# SPDX-License-Identifier: Apache-2.0
"""The course of a drill that may begin: played run by run, and ended in the log on every way out but a kill."""

import datetime as dt
import os
from pathlib import Path

from chaosgpu.drill.approval import for_hosts
from chaosgpu.drill.checks import Ready
from chaosgpu.drill.judging import judged, worst
from chaosgpu.drill.means import Ended, Means
from chaosgpu.drill.notify import Teller
from chaosgpu.drill.planfile import Written
from chaosgpu.drill.playing import Played, Step
from chaosgpu.drill.record import Series
from chaosgpu.drill.state import DrillFolder, Part
from chaosgpu.drill.syslog import words
from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.directory import write_json
from chaosgpu.lease.verdict import Verdict

__all__ = ["Begun", "Course"]

_APPROVAL = "approval.json"


class Begun(Exception):
    """Something went wrong once `started` was written: that is no refusal."""

    def __init__(self, error: ChaosGpuError) -> None:
        super().__init__(str(error))
        self.error = error


class Course:
    """One drill that may begin."""

    def __init__(self, written: Written, means: Means, ready: Ready, teller: Teller, occurrence: str | None) -> None:
        self._written, self._means, self._ready, self._teller = written, means, ready, teller
        self._occurrence = occurrence
        self._series = Series(written.plan.drill, means.names.run())
        self._folder = DrillFolder(means.home / f"{self._series.name}-{self._series.drill}")
        self._parts = [
            Part(one.planned.file, one.title, one.planned.deadline_minutes * 60) for one in ready.experiments
        ]
        self._ended: list[tuple[Verdict, str]] = []

    def run(self) -> Ended:
        """Play it. From `started` on every way out but a kill ends with `finished` or `aborted`."""
        with self._folder.living():
            self._keep("begins")
            self._start()
            try:
                return self._ended_in_any_case()
            except ChaosGpuError as error:
                raise Begun(error) from error

    def _ended_in_any_case(self) -> Ended:
        try:
            why = self._play_all()
        except BaseException as error:
            self._end(f"it broke off: {str(error) or type(error).__name__}")
            raise
        return self._end(why)

    def _start(self) -> None:
        plan, means = self._written.plan, self._means
        means.record.series_started(
            self._series, self._written, by=means.operator, operator=plan.operator, occurrence=self._occurrence,
            experiments=[one.planned.sha256 for one in self._ready.experiments],
            approvals=[one.as_json() for one in self._ready.approvals],
        )  # fmt: skip
        self._tell("started", {"hosts": [*plan.hosts.names]})
        approved = ", ".join(one.by for one in self._ready.approvals) or "nobody (this site asks for no approval)"
        head = {
            "drill": f"{plan.title} ({self._series.name})",
            "hosts": f"{', '.join(plan.hosts.names)}, {plan.hosts.blast_radius} at a time at most",
            "by": f"{means.operator}, for {plan.operator}; approved by {approved}",
            "change": plan.change_id or "none",
            "to stop": f"chaosgpu drill stop {self._series.name} --reason '…'",
        }
        means.room.begins(head, self._parts)

    def _play_all(self) -> str | None:
        """Play one experiment after the other; return why the rest of them is not played, or None."""
        for number, part in enumerate(self._parts, start=1):
            why = self._why_stop(self._ready.experiments[number - 1].planned.undo_minutes * 60 + part.deadline_s)
            if why is not None:
                return why
            played = self._play(number, part)
            verdict = self._judged(part, played)
            self._ended.append((verdict, part.reason))
            rest = number < len(self._parts)
            if played.stopped is not None:
                return played.stopped
            if rest and verdict in (Verdict.UNSAFE, Verdict.INCONCLUSIVE):
                return f"{part.file} ended as {verdict}: what follows is not played"
            if rest and verdict is Verdict.DEVIATED and not self._written.plan.go_on_after_deviation:
                return f"{part.file} deviated, and the plan does not go on after that"
        return None

    def _play(self, number: int, part: Part) -> Played:
        """Play one: its start is on disk before it may touch anything, its end behind it."""
        means, loaded = self._means, self._ready.experiments[number - 1]
        runs = self._folder.path / "runs"
        file = self._folder.path / f"{number}-{Path(loaded.planned.file).name}"
        file.write_bytes(loaded.raw)  # what was approved, whatever becomes of the file meanwhile
        part.attempt = means.record.run_started(
            self._series, number, self._written.sha256, experiment_sha256=loaded.planned.sha256,
            title=loaded.title, change_id=self._written.plan.change_id,
        )  # fmt: skip
        part.state = "runs"
        self._keep("plays")
        environment = {"CHAOSGPU_RUNS": str(runs), "CHAOSGPU_DRILL": part.attempt}
        if self._written.plan.change_id is not None:
            environment["CHAOSGPU_CHANGE_TICKET"] = self._written.plan.change_id
        if self._ready.approvals:
            environment["CHAOSGPU_APPROVAL"] = str(self._folder.path / _APPROVAL)
            write_json(self._folder.path / _APPROVAL, for_hosts(self._written, self._ready.approvals))
        step = Step(file, tuple(loaded.settings), part.deadline_s, loaded.planned.undo_minutes * 60, environment)
        try:
            played = means.player(step, lambda: self._why_stop(0), means.room.line)
        except BaseException as error:
            means.record.run_ended(self._series, part.attempt, None, str(error) or type(error).__name__)
            raise
        means.record.run_ended(self._series, part.attempt, played.directory, played.reason)
        for host, what in played.left.items():
            means.record.residue(self._series, part.attempt, host, what)
        if played.left:
            self._tell("residue", {"left": dict(played.left)})
        return played

    def _judged(self, part: Part, played: Played) -> Verdict:
        """Take up how a run ended."""
        verdict, part.reason = judged(self._written.plan, played)
        part.state, part.verdict = "ended", verdict.value
        part.run = "" if played.directory is None else played.directory.name
        self._keep("plays")
        return verdict

    def _why_stop(self, needed_s: float) -> str | None:
        """Return why nothing more may be played: somebody asked, or the window leaves no time for it."""
        why = self._means.stopped() or self._folder.why_stop()
        if why is not None:
            return why
        left = self._ready.opening.closes - self._means.names.now()
        return "the window closes before it could end" if left < dt.timedelta(seconds=needed_s) else None

    def _end(self, why: str | None) -> Ended:
        """Write how the drill ended, tell it, and show it."""
        verdict, reason = worst(self._ended)
        whole = why is None
        if not whole:
            verdict = Verdict.UNSAFE if verdict is Verdict.UNSAFE else Verdict.INCONCLUSIVE
            reason = f"{why}; {len(self._ended)} of {len(self._parts)} experiments were played"
        ended = Ended(self._series.name, verdict, reason, whole, self._folder.name)
        told: JsonObject = {"verdict": verdict.value, "reason": reason, "runs": [one.as_json() for one in self._parts]}
        self._tell("finished" if whole else "aborted", told)
        more: JsonObject = {
            "scope": self._written.plan.scope,
            "level": self._written.plan.level,
            "change_id": self._written.plan.change_id,
            "runs": [{"run": one.run, "attempt": one.attempt, "verdict": one.verdict} for one in self._parts],
            "untold": [*self._teller.untold],
        }
        if whole:
            self._means.record.series_finished(self._series, verdict.value, reason, **more)
        else:
            self._means.record.series_aborted(self._series, reason, outcome=verdict.value, **more)
        self._keep("ended", verdict=verdict.value, reason=reason)
        self._means.room.ends(verdict, reason, self._teller.untold)
        return ended

    def _keep(self, state: str, **more: str) -> None:
        plan = self._written.plan
        self._folder.keep(
            state=state, drill=plan.drill, series=self._series.name, title=plan.title, change_id=plan.change_id,
            pid=os.getpid(), by=self._means.operator, hosts=[*plan.hosts.names],
            inventory=[str(self._written.beside(one)) for one in plan.hosts.inventory],
            plan=str(self._written.path), plan_sha256=self._written.sha256,
            parts=[one.as_json() for one in self._parts], **more,
        )  # fmt: skip
        self._means.room.changed()

    def _tell(self, what: str, more: JsonObject) -> None:
        plan, by = self._written.plan, self._means.operator
        reason, verdict = more.get("reason"), more.get("verdict")
        self._means.syslog(
            words(
                what, drill=plan.drill, series=self._series.name, change=plan.change_id, operator=by, verdict=verdict,
                reason=reason, hosts=",".join(plan.hosts.names),
            )
        )  # fmt: skip
        said: JsonObject = {"drill": plan.drill, "series": self._series.name, "title": plan.title}
        self._teller.tell(what, {**said, "change_id": plan.change_id, "by": by, **more})
