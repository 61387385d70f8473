# SPDX-License-Identifier: Apache-2.0
"""A silence as a lease of Alertmanager's: it has an end from the start, and the end of the run ends it sooner."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chaosgpu.alerts.api import Alertmanager
from chaosgpu.errors import BadArgument, ChaosGpuError, FaultUnverified, NotRestored
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.deeds import Settled
from chaosgpu.lease.run import Run

__all__ = ["Silenced", "set_silence"]

LONGEST_S = 4 * 3600.0
_READ_S = 5.0
_POLL_S = 0.1


@dataclass(eq=False)
class Silenced:
    """A silence that this run has set."""

    run: Run
    manager: Alertmanager
    name: str
    labels: Mapping[str, str]
    ends_at: float
    # Ended with the rollbacks, after faults: while one is undone its alert may still fire.
    with_rollbacks: bool = True
    rank: int = 90
    ended: bool = False
    why: str | None = None

    def put_back(self, by: str) -> None:
        """End the silence and see that it has ended."""
        if self.ended:
            return
        try:
            self.end()
        except ChaosGpuError as error:
            self.why = str(error)
        else:
            self.run.note("silence.ended", silence=self.name, by=by)

    def end(self) -> None:
        """End it, or raise NotRestored."""
        self.manager.end_silence(self.name)
        found = self.manager.silence_state(self.name)
        if found is not None and found.state == "active":
            raise NotRestored(
                f"The silence {self.name} at {self.manager.url} is still active after it was ended; end it by hand: "
                f"amtool silence expire {self.name}"
            )
        self.ended, self.why = True, None

    def settled(self) -> Settled:
        """Say what came of it. One that Alertmanager has ended by itself since is no harm."""
        if self.ended or self.why is None or time.time() > self.ends_at:
            return Settled()
        until = datetime.fromtimestamp(self.ends_at, UTC).isoformat(timespec="seconds")
        return Settled(not_restored=(f"alerts {dict(self.labels)} stay silenced until {until}: {self.why}",))


def set_silence(
    run: Run, manager: Alertmanager, labels: Mapping[str, str], duration_s: float, comment: str
) -> JsonObject:
    """Set a silence, see it in force, and let the end of the run end it."""
    if duration_s > LONGEST_S:
        raise BadArgument(f"duration_s of a silence must be at most {LONGEST_S:g}, not {duration_s:g}.")
    begin = datetime.now(UTC)
    end = begin + timedelta(seconds=duration_s)
    run.ledger.append("silence.set", labels=dict(labels), ends_at=end.isoformat(), url=manager.url)
    name = manager.silence(labels, (begin, end), f"chaosgpu run {run.id}: {comment}")
    silenced = Silenced(run, manager, name, labels, end.timestamp())
    run.deeds.append(silenced)
    deadline = time.monotonic() + _READ_S
    found = manager.silence_state(name)
    while (found is None or found.state != "active") and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        found = manager.silence_state(name)
    if found is None or found.state != "active":
        silenced.put_back("not in force")
        raise FaultUnverified(f"The silence {name} at {manager.url} was set and is not in force: {found}.")
    return {"silence": name, "labels": dict(labels), "ends_at": end.isoformat(timespec="seconds")}
