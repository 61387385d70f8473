# SPDX-License-Identifier: Apache-2.0
"""What the guard knows while an experiment plays."""

import contextlib
import hashlib
import json
import logging
import math
import os
import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace

from chaoslib import substitute
from chaoslib.types import Configuration, Secrets

from chaosgpu.controls import granted
from chaosgpu.controls.around import dry_of, plan_of, why_not_around
from chaosgpu.controls.checks import declared_actions, why_refused
from chaosgpu.controls.hits import Hit, named_hosts, what_is_hit
from chaosgpu.controls.known_secrets import LogRedaction
from chaosgpu.controls.preflight import show_hits, why_hosts_refuse
from chaosgpu.controls.progress import Pulse
from chaosgpu.controls.signals import Phase, StopSignals
from chaosgpu.controls.stopping import Stopping
from chaosgpu.controls.watch import Watch
from chaosgpu.errors import BadArgument, ChaosGpuError, LedgerBroken, Refused
from chaosgpu.fleet.ask import use_inventory
from chaosgpu.fleet.inventory import Inventory, named_inventory
from chaosgpu.fleet.redaction import redact
from chaosgpu.fleet.targets import chosen
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease import directory
from chaosgpu.lease.fleet_ttl import fleet_ttl_s
from chaosgpu.lease.hosts import hosts_of_run
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run, activate
from chaosgpu.lease.undo import undo_run
from chaosgpu.lease.verdict import Judgement
from chaosgpu.lease.verify import look
from chaosgpu.lifecycle.plan import Plan
from chaosgpu.stops.contract import Reading
from chaosgpu.stops.scene import Scene

__all__ = ["Session"]

logger = logging.getLogger("chaostoolkit")

_UNDO_S = 60.0
# One question costs the host some 0.1 s. A lease whose time may be over is asked for sooner.
_LOOK_EVERY_S = 3.0
_LOOK_IDLE_S = 10.0
_LOOK_AGAIN_S = 0.5
# Over Ansible a look takes seconds of the controller: it may take one part of its time in so many.
_LOOK_PARTS = 5
_LOOK_FOR_S = 15.0


@dataclass(eq=False)
class Session:
    """One experiment under guard."""

    experiment: Mapping[str, object]
    configuration: Configuration
    secrets: Secrets
    # The guard's argument: conditions that stop the run, as text or tree.
    stop_when: object = None
    names: Names = field(default_factory=Names)
    run: Run | None = None
    journal: MutableMapping[str, object] | None = None
    ready: bool = False
    dry: str | None = None
    refused: str | None = None
    hosts_known: bool = False
    inventory: Inventory | None = None
    # What is to happen to the hosts around the experiment.
    plan: Plan | None = None
    # Why the hosts that the experiment names could not be chosen.
    unchosen: str | None = None
    # Why the guard itself stopped the method.
    stopped: str | None = None
    look_took_s: float = 0.0
    # Whether the main thread knows of `stopped`: it must not be interrupted while it is already stopping.
    main_knows: bool = False
    judgement: Judgement | None = None
    log_filter: LogRedaction = field(default_factory=LogRedaction)
    # Released when the run is over: the run's kernel lock.
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        self.signals = StopSignals(self.on_stop)
        self._looking = threading.RLock()
        self._undoing = threading.Lock()  # taken by the first who undoes, and never given back
        self.stopping: Stopping | None = None
        self.watch: Watch | None = None
        self.pulse: Pulse | None = None

    def find_inventory(self) -> None:
        """Take up the inventory that the configuration names, so that its hosts can be reached, and their lifecycle."""
        try:
            self.inventory = named_inventory(self.configuration)
            self.plan = plan_of(self.configuration, self.secrets)
        except BadArgument as error:
            self.unchosen = str(error)
        if self.inventory is not None:
            use_inventory(self.inventory)

    def prepare(self) -> None:
        """Make the run, check what must be true, and say what will be hit; the reason against it is kept."""
        try:
            self._open_run()
            self.refused = self.unchosen or why_refused(self.experiment, dry=self.dry is not None)
            self.refused = self.refused or self._why_not_around()
            self.refused = self.refused or self._why_host_refuses()
            self.refused = self.refused or self._why_stops_refuse()
            if self.refused is None and self.run is not None:
                self.run.ledger.append("run.started")
        except LedgerBroken as error:
            self.refused = str(error)
        if self.refused is not None and self.run is not None:
            # Should the interruption not come, as where the control is limited to one scope: no fault all the same.
            self.run.close()
        elif self.run is not None:
            self.watch, self.pulse = Watch(self.run, self.look_and_stop), Pulse(self.run)
            if self.stopping is not None:
                self.stopping.watch(self._on_trip)
        self.ready = True

    def end(self) -> None:
        """End the guard's threads and the renewal."""
        for thread in (self.stopping, self.watch, self.pulse):
            if thread is not None:
                thread.end()
        if self.run is not None:
            self.run.renewal.close()

    def _open_run(self) -> None:
        """Make the run directory and write what is planned before anything else happens."""
        run_id = self.names.run()
        folder = directory.create(directory.home(), run_id)
        run = Run(run_id, folder, Ledger(folder / "ledger.jsonl", run_id, self.names.now), self.names)
        self.held.enter_context(directory.keep_alive(folder))
        self.run = run
        self._choose(run)
        by = self._granted(run)
        experiment = redact(_object(directory.plain(dict(self.experiment))))
        written = json.dumps(experiment, sort_keys=True, ensure_ascii=False).encode()
        run.ledger.append(
            "run.planned",
            title=str(self.experiment.get("title")),
            experiment_sha256=hashlib.sha256(written).hexdigest(),
            dry=self.dry,
            hits=[hit.as_json() for hit in self.hits()],
            **by,
            **self._fleet(run),
        )
        directory.write_json(folder / "experiment.json", experiment)
        activate(run)

    def _granted(self, run: Run) -> JsonObject:
        """Take up the change and the approval that the run goes by, and return what the record says of them."""
        try:
            run.approval = granted.approval(os.environ)
            return granted.change(os.environ)
        except BadArgument as error:
            self.unchosen = self.unchosen or str(error)
            return {}

    def _choose(self, run: Run) -> None:
        """Choose the hosts of all actions at once; from here on the run knows them by name."""
        if self.unchosen is not None:
            return
        try:
            patterns = [pattern for action in self._actions() if (pattern := named_hosts(action)) is not None]
            if self.plan is not None and self.plan.hosts is not None:
                patterns.append(self.plan.hosts)
            run.chosen |= chosen(patterns)
        except ChaosGpuError as error:
            self.unchosen = str(error)

    def _fleet(self, run: Run) -> dict[str, JsonValue]:
        """Return what the record says of a run over an inventory."""
        if self.inventory is None:
            return {}
        hosts: JsonObject = {pattern: [*names] for pattern, names in run.chosen.items()}
        return {"hosts": hosts, "fleet": self.inventory.as_json()}

    def _actions(self) -> list[Mapping[str, object]]:
        """List the actions of the method with their arguments substituted as Chaos Toolkit will."""
        return [
            substitute(dict(action), self.configuration, self.secrets) for action in declared_actions(self.experiment)
        ]

    def hits(self) -> list[Hit]:
        """Return what the method will hit."""
        if self.unchosen is not None:
            return []
        return what_is_hit(self._actions(), {} if self.run is None else self.run.chosen)

    def _why_not_around(self) -> str | None:
        """Look at the lifecycle of the hosts; until its control has played it no fault is put in."""
        if self.run is None:
            return None
        if self.plan is not None and not dry_of(self.dry):
            self.run.not_ready = "the lifecycle control has not brought the hosts to where the method begins"
        return why_not_around(self.experiment, self.plan, self.run, self.configuration)

    def _why_host_refuses(self) -> str | None:
        """Ask the hosts before anything is played, and show what will be hit."""
        if self.run is None:
            return None
        hits = self.hits()
        begun_s = self.names.monotonic()
        refused, seen = why_hosts_refuse(hosts_of_run(self.run), hits, self.run.directory)
        refused = refused or self._why_renewal_refuses(self.run, self.names.monotonic() - begun_s)
        if refused is None:
            self.hosts_known = True
            self.run.looked_s = self.names.monotonic()  # they have just said that nobody has halted them
            self.look_took_s = self.run.looked_s - begun_s
            show_hits(hits, seen)
        return refused

    def _why_renewal_refuses(self, run: Run, round_trip_s: float) -> str | None:
        """Say for how long a renewal over the inventory counts, by what a round trip took."""
        if self.inventory is None:
            return None
        try:
            run.fleet_ttl_s = fleet_ttl_s(self.inventory, round_trip_s)
        except Refused as error:
            return str(error)
        if run.fleet_ttl_s is not None:
            logger.info("Leases are renewed for %.0f s; a round trip took %.1f s", run.fleet_ttl_s, round_trip_s)
        return None

    def _why_stops_refuse(self) -> str | None:
        """Look at the stop conditions before anything is played; what a host watches goes with each fault."""
        if self.stop_when is None or self.run is None:
            return None
        scene = Scene(self.experiment, self.configuration, self.secrets, self.run.book.all, self.names.monotonic)
        self.stopping = Stopping(self.stop_when, replace(scene, started_s=self.names.monotonic()))
        refused = self.stopping.why_refused()
        self.run.stop_when = self.stopping.host
        return refused

    def why_stop_here(self) -> str | None:
        """Say before an activity why the method must not go on; one in the background is told on its own thread."""
        with self._looking:
            reason = self.stopped or (self.run.not_ready if self.run is not None else None) or self._look()
            here = threading.current_thread() is threading.main_thread()
            self.main_knows = self.main_knows or (here and reason is not None)
            return reason

    def look_and_stop(self) -> None:
        """Look from the guard's own thread; undo first, then get the main thread out of whatever it does."""
        with self._looking:
            reason = None if self._undoing.locked() else (self.stopped or self._look())
        if reason is not None:
            self._stop_now(reason, "fault ended")

    def _on_trip(self, reason: str, reading: Reading) -> None:
        """Stop for a stop condition, from its own thread; once rollback has begun nobody is stopped any more."""
        if self.run is None or self.signals.phase is not Phase.PLAYING:
            return
        self.stopped = self.stopped or reason
        self._stop_now(reason, "stop condition", reading)

    def _stop_now(self, reason: str, by: str, reading: Reading | None = None) -> None:
        """Undo first, then get the main thread out of whatever it does; only the first who comes does it."""
        run = self.run
        if run is None or self.signals.phase is not Phase.PLAYING or not self._undoing.acquire(blocking=False):
            return
        logger.error("The method is stopped, undoing now: %s", reason)
        run.close()
        if reading is not None:
            met = "met" if reading.met else "unknown"
            run.note("signal", name="stop condition", phase=self.signals.phase.value, met=met, reading=reading.text)
        self._undo(by)
        with self._looking:
            if not self.main_knows:
                self.main_knows = True
                self.signals.stop()

    def _look(self) -> str | None:
        """Say why the method must not go on: a fault that should be in force is not, or the host was halted.

        The host is asked when the time of a fault may be over, and otherwise now and then.
        """
        run = self.run
        if run is None or self.signals.phase is not Phase.PLAYING or run.closing.is_set():
            return None
        expected = [lease for lease in run.book.all() if lease.in_force]
        due_s = min((lease.expires_at_s for lease in expected), default=math.inf)
        now_s = self.names.monotonic()
        next_s = run.looked_s + max(_LOOK_EVERY_S if expected else _LOOK_IDLE_S, _LOOK_PARTS * self.look_took_s)
        if now_s < max(run.looked_s + _LOOK_AGAIN_S, min(due_s, next_s)):
            return None
        found = look(run, hosts_of_run(run), _LOOK_FOR_S)
        self.look_took_s = run.looked_s - now_s
        for lease in found.missing:
            self.stopped = f"{lease.fault} on {lease.host} was not in force to the end: {lease.ended_early}"
        self.stopped = found.halted or self.stopped
        return self.stopped

    def on_stop(self, name: str, phase: Phase) -> None:
        """Record a signal and undo at once: Chaos Toolkit may wait long for an activity that hangs."""
        logger.warning("%s received while %s: stopping in order, undoing now", name, phase)
        run = self.run
        if run is None:
            return
        run.close()
        if self.judgement is not None:
            return
        run.note("signal", name=name, phase=phase.value)
        if phase is not Phase.PLAYING or not run.book.open():
            return
        self._undo(f"signal {name}")

    def _undo(self, by: str) -> None:
        """Undo the run from a thread of the guard's own."""
        if self.run is None:
            return
        try:
            undo_run(self.run, hosts_of_run(self.run), _UNDO_S, by)
        except ChaosGpuError as error:
            logger.error("The undo after %s failed, the rollbacks and the last sweep try again: %s", by, error)  # noqa: TRY400 (a sentence for operators)

    def note(self, entry_type: str, **entry: JsonValue) -> None:
        """Write to the ledger, if there is a run."""
        if self.run is not None:
            self.run.note(entry_type, **entry)


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
