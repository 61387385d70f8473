# SPDX-License-Identifier: Apache-2.0
"""The run that is under way in this process; it is there only while the guard control is active."""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import LedgerBroken, NoGuard
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.book import Book
from chaosgpu.lease.deeds import Deed, Settled
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.renewal import Renewal

__all__ = ["Run", "activate", "current_run", "deactivate"]

logger = logging.getLogger("chaostoolkit")


@dataclass(eq=False)
class Run:
    """One execution of one experiment."""

    id: str
    directory: Path
    ledger: Ledger
    names: Names
    book: Book = field(default_factory=Book)
    # Set once the run stops or rolls back: from then on no fault is put in.
    closing: threading.Event = field(default_factory=threading.Event)
    # What the record lacks, because the disk did not take it while something had to be undone all the same.
    gaps: list[str] = field(default_factory=list)
    # Conditions that each host watches for each fault of the run, as the agent reads them.
    stop_when: JsonObject | None = None
    # What hosts that demand an approval are given to judge.
    approval: JsonObject = field(default_factory=dict)
    # Where leases of a fleet are renewed: for how long at a time.
    fleet_ttl_s: float | None = None
    # When the hosts were last asked how its leases stand, on this controller's monotonic clock.
    looked_s: float = 0.0
    # The hosts that each pattern of the experiment means, as they were chosen.
    chosen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # What was done beside leases.
    deeds: list[Deed] = field(default_factory=list)
    # Why no fault may be put in yet: what has to come first has not come to its end.
    not_ready: str | None = None

    def __post_init__(self) -> None:
        self.renewal = Renewal(self.directory / "renewer.log")

    def close(self) -> None:
        """From now on no fault is put in and no lease renewed."""
        self.closing.set()
        self.renewal.stop()

    def note(self, entry_type: str, **entry: JsonValue) -> bool:
        """Write to the ledger what must not stop us: undo goes on without a record, and the record says less."""
        if self.ledger.sealed:
            return False
        try:
            self.ledger.append(entry_type, **entry)
        except LedgerBroken as error:
            self.lacks(str(error))
            return False
        return True

    def put_back(self, by: str, *, rollbacks_alone: bool = False) -> Settled:
        """Put back what was done beside leases, in the order of their ranks, and return what came of all of it."""
        settled = Settled()
        for deed in sorted(self.deeds, key=lambda one: one.rank):
            if deed.with_rollbacks or not rollbacks_alone:
                deed.put_back(by)
                settled += deed.settled()
        return settled

    def lacks(self, sentence: str) -> None:
        """Remember that the record is incomplete; the first time it is said aloud."""
        if not self.gaps:
            logger.warning("The record of this run is incomplete: %s", sentence)
        self.gaps.append(sentence)


class _Active:
    """The run of this process: Chaos Toolkit runs one experiment at a time."""

    run: Run | None = None


def current_run() -> Run:
    """Return the run under way; raise NoGuard where the guard control is not active."""
    if _Active.run is None:
        raise NoGuard(
            "No fault is put in without the guard control, since nobody would undo it. Add to the experiment: "
            '"controls": [{"name": "guard", "provider": {"type": "python", "module": "chaosgpu.controls.guard"}}].'
        )
    return _Active.run


def activate(run: Run) -> None:
    """Make this the run under way."""
    _Active.run = run


def deactivate() -> None:
    """End it: from now on every action is refused."""
    _Active.run = None
