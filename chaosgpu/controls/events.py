# SPDX-License-Identifier: Apache-2.0
"""What Chaos Toolkit tells while it plays: forced rollbacks, small ledger entries, verification, terminal lines."""

import hashlib
import json
import logging
from collections.abc import Mapping, MutableMapping

from chaoslib.run import RunEventHandler

from chaosgpu.controls.checks import activities
from chaosgpu.controls.closing import close, release
from chaosgpu.controls.outcome import outcome_of
from chaosgpu.controls.session import Session
from chaosgpu.controls.signals import Phase
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.directory import plain
from chaosgpu.lease.verify import still_in_force

__all__ = ["GuardEvents"]

logger = logging.getLogger("chaostoolkit")

_SMALL_BYTES = 2048
_VERIFY_S = 30.0

type _Mapping = Mapping[str, object]


class GuardEvents(RunEventHandler):
    """The guard's ear. An exception here is only a debug line in Chaos Toolkit, so nothing leans on raising."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def running(  # noqa: PLR0917 (Chaos Toolkit's signature)
        self,
        experiment: _Mapping,
        journal: MutableMapping[str, object],
        configuration: _Mapping,  # noqa: ARG002 (the names are Chaos Toolkit's)
        secrets: _Mapping,  # noqa: ARG002
        schedule: object,  # noqa: ARG002
        settings: MutableMapping[str, object],
    ) -> None:
        """Force the rollback strategy: Chaos Toolkit reads it right after this, whatever file or command line said."""
        _force(settings, "always")
        session = self._session
        session.journal = journal
        dry = experiment.get("dry")
        session.dry = None if dry is None else str(plain(dry))
        session.prepare()
        if session.refused is not None:
            # Nothing was played, so there is nothing to roll back, and broken rollbacks would cost the journal.
            _force(settings, "never")

    def start_method(self, experiment: _Mapping) -> None:  # noqa: ARG002
        """Let signals stop the run from here on also where our hook before the experiment is not called."""
        if self._session.signals.phase is Phase.STARTING:
            self._session.signals.phase = Phase.PLAYING

    def activity_completed(self, activity: _Mapping, run: _Mapping) -> None:
        """Note each activity and show each probe's result: the canary stands beside the plain health check."""
        status = str(run.get("status") or "interrupted")
        self._session.note(
            "probe",
            name=str(activity.get("name")),
            kind=str(activity.get("type")),
            phase=self._phase(activity),
            status=status,
            duration_s=_number(run.get("duration")),
            **_small(run.get("output")),
            error=outcome_of(run) if status != "succeeded" else None,
        )
        if activity.get("type") == "probe" and self._session.dry is None:
            logger.info("  %s: %s", activity.get("name"), outcome_of(run))

    def method_completed(self, experiment: _Mapping, state: object = None) -> None:  # noqa: ARG002
        """Verify every fault again before the hypothesis is judged."""
        self._verify()

    def hypothesis_before_completed(self, experiment: _Mapping, state: object, journal: _Mapping) -> None:  # noqa: ARG002
        """Note whether the steady state held before."""
        self._hypothesis("before", state)

    def hypothesis_after_completed(self, experiment: _Mapping, state: object, journal: _Mapping) -> None:  # noqa: ARG002
        """Note whether it held after the method, and whether the faults were in force all that time."""
        self._hypothesis("after", state)
        self._verify()

    def continuous_hypothesis_iteration(self, iteration_index: int, state: object) -> None:
        """Note one of the checks during the method."""
        self._hypothesis("during", state, iteration=iteration_index)

    def start_rollbacks(self, experiment: _Mapping) -> None:  # noqa: ARG002
        """From here on a signal is only recorded and no fault is put in."""
        self._session.signals.phase = Phase.CLOSING
        if self._session.stopping is not None:
            self._session.stopping.end()
        if self._session.run is not None:
            self._session.run.close()
            # With the renewal a lease may end by itself while a slow rollback is played before ours.
            self._session.run.book.judged()

    def finish(self, journal: MutableMapping[str, object]) -> None:
        """Be the last net, and write the journal's last form to the run directory."""
        close(self._session, journal)
        release(self._session, journal)

    def _verify(self) -> None:
        """Look again at every fault that should be in force."""
        run = self._session.run
        if run is None or run.closing.is_set():
            return
        for lease in still_in_force(run, _VERIFY_S):
            logger.warning("%s on %s is not in force any more: %s", lease.fault, lease.host, lease.ended_early)

    def _hypothesis(self, when: str, state: object, **more: JsonValue) -> None:
        """Write one check of the steady state."""
        met = state.get("steady_state_met") if isinstance(state, Mapping) else None
        self._session.note("hypothesis", when=when, met=met if isinstance(met, bool) else None, **more)

    def _phase(self, activity: _Mapping) -> str:
        """Say which part of the experiment an activity belongs to."""
        for section in ("probes", "method", "rollbacks"):
            if any(item is activity for item in activities(self._session.experiment, section)):
                return {"probes": "hypothesis"}.get(section, section)
        return "method"


def _force(settings: MutableMapping[str, object], strategy: str) -> None:
    runtime = settings.setdefault("runtime", {})
    if isinstance(runtime, dict):
        runtime.setdefault("rollbacks", {})["strategy"] = strategy


def _small(output: object) -> JsonObject:
    """Return an output as it is if it is small, else its size and digest: the journal has all of it."""
    value = plain(output)
    written = json.dumps(value, ensure_ascii=False).encode()
    if len(written) <= _SMALL_BYTES:
        return {"output": value}
    return {"output_bytes": len(written), "output_sha256": hashlib.sha256(written).hexdigest()}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
