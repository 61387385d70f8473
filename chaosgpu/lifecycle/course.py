# SPDX-License-Identifier: Apache-2.0
"""What was done to the hosts so far, step by step: written before the deed, and read back by whoever finishes it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from chaosgpu.fleet.play import Outcome
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.run import Run

__all__ = ["PIN_FAULT", "Course", "Life", "lives_of", "pin_lease", "pin_run", "run_of"]

logger = logging.getLogger("chaostoolkit")

PIN_FAULT = "package.install"
_PREFIX = "lifecycle-"
_BASELINE = "baseline"
_CHANGING = frozenset({"snapshot", "pin"})


def pin_run(run: str) -> str:
    """Name what the pin of a run is a lease of: not of the run itself, since it is undone after the run's faults."""
    return f"{_PREFIX}{run}"


def run_of(name: str) -> str:
    """Return the run that a lease is of, be it a fault of it or its pin."""
    return name.removeprefix(_PREFIX)


def pin_lease(drill: str) -> str:
    """Name the lease that the pin is on each host."""
    return f"{_PREFIX}{drill}-pin"


@dataclass(frozen=True)
class Life:
    """How far a host is. `begun`: steps of which something may be there; `sure`: those that came to their end."""

    host: str
    begun: frozenset[str] = frozenset()
    sure: frozenset[str] = frozenset()
    restored: bool = False
    quarantined: bool = False
    # It is as it was, and waits for a person to give it back.
    cordoned: bool = False
    # Why it must not go back into service by itself.
    failed: str | None = None

    @property
    def drained(self) -> bool:
        """Tell whether it may be out of service."""
        return "drain" in self.begun

    @property
    def changed(self) -> bool:
        """Tell whether its packages may not be as they were; without a whole snapshot nothing has touched them."""
        return "pin" in self.begun or "snapshot" in self.sure

    @property
    def measured(self) -> bool:
        """Tell whether it is still to be compared with its baseline."""
        return _BASELINE in self.begun

    @property
    def settled(self) -> bool:
        """Tell whether nothing of it is left to be done."""
        return self.quarantined or not self.begun


def lives_of(entries: Iterable[Mapping[str, JsonValue]], drill: str) -> dict[str, Life]:
    """Read from a record how far each host of a lifecycle is."""
    found: dict[str, Life] = {}
    for entry in entries:
        if entry.get("drill") != drill:
            continue
        for host, how in _hosts(entry):
            found[host] = _after(found.get(host, Life(host)), entry, how)
    return found


def _hosts(entry: Mapping[str, JsonValue]) -> list[tuple[str, JsonObject]]:
    """Return the hosts that a line is about, each with what it says of that one."""
    hosts, host = entry.get("hosts"), entry.get("host")
    if isinstance(hosts, dict):
        return [(name, how if isinstance(how, dict) else {}) for name, how in hosts.items()]
    if isinstance(hosts, list):
        return [(str(name), {}) for name in hosts]
    return [(host, {})] if isinstance(host, str) else []


def _after(life: Life, entry: Mapping[str, JsonValue], how: JsonObject) -> Life:
    """Move a host on by one line of the record."""
    kind, step = entry.get("type"), str(entry.get("step"))
    if kind == "host.baseline":
        return replace(life, begun=life.begun | {_BASELINE}, restored=False)
    if kind == "host.restored":
        return replace(life, begun=life.begun - {_BASELINE}, restored=True)
    if kind in ("host.cordoned", "host.quarantined"):
        return replace(life, cordoned=kind == "host.cordoned", quarantined=kind == "host.quarantined")
    if kind == "lifecycle.step" and step in ("drain", "snapshot", "pin"):
        return replace(life, begun=life.begun | {step}, restored=False)
    if kind != "lifecycle.done":
        return life
    word = how.get("how")
    if word == "ok":
        return _well(life, step)
    if entry.get("way") == "there":
        begun = life.begun if word != "refused" or step in life.sure else life.begun - {step}
        # A drain is all or nothing, and one that was not begun there is no failure of this host.
        blamed = step != "drain" and word != "refused"
        failed = f"{step} {word}: {how.get('said') or 'no reason given'}" if blamed else None
        return replace(life, begun=begun, failed=life.failed or failed)
    return life


def _well(life: Life, step: str) -> Life:
    if step == "quarantine":
        return replace(life, quarantined=True)
    if step == "return":
        kept = life.begun - {"drain"}, life.sure - {"drain"}
        return replace(life, begun=kept[0], sure=kept[1], quarantined=False, cordoned=False, failed=None)
    if step == "rollback":
        return replace(life, begun=life.begun - _CHANGING, sure=life.sure - _CHANGING)
    return replace(life, sure=life.sure | {step})


@dataclass(eq=False)
class Course:
    """The lines of one lifecycle, in memory too: a full disk must not keep a host from being brought back."""

    run: Run
    drill: str
    lines: list[JsonObject] = field(default_factory=list)
    # Hosts that were finished behind the end of this record.
    leave_out: frozenset[str] = frozenset()

    @property
    def lives(self) -> dict[str, Life]:
        """Return how far each host is."""
        found = lives_of(self.lines, self.drill)
        return {host: life for host, life in found.items() if host not in self.leave_out}

    def may_hold_pin(self, host: str) -> bool:
        """Tell whether a host may hold a lease for its pin; one that was as wanted already holds none."""
        told = [line["hosts"] for line in self.lines if (line["type"], line.get("step")) == ("lifecycle.done", "pin")]
        said = [one[host] for one in told if isinstance(one, dict) and host in one]
        life = self.lives.get(host)
        begun = life is not None and "pin" in life.begun
        return begun and not any(
            isinstance(one, dict) and one.get("how") == "ok" and not one.get("lease") for one in said
        )

    def intend(self, step: str, hosts: Sequence[str], way: str, **more: JsonValue) -> None:
        """Write what is about to be done; but for the way back nothing is done without that: raises LedgerBroken."""
        entry: JsonObject = {"drill": self.drill, "step": step, "way": way, "hosts": [*hosts], **more}
        if way != "back":
            self.run.ledger.append("lifecycle.step", **entry)
        else:
            self.run.note("lifecycle.step", **entry)
        self.lines.append({"type": "lifecycle.step", **entry})

    def done(self, step: str, way: str, outcomes: Mapping[str, Outcome]) -> None:
        """Write what came of it, and show what did not go well."""
        hosts: JsonObject = {host: _shown(one) for host, one in outcomes.items()}
        self.note("lifecycle.done", step=step, way=way, hosts=hosts)
        for one in outcomes.values():
            if not one.ok:
                logger.error("%s %s on %s: %s", step, one.how, one.host, one.said)

    def note(self, kind: str, **entry: JsonValue) -> None:
        """Write one line; what cannot be written is remembered all the same."""
        whole: JsonObject = {"drill": self.drill, **entry}
        self.run.note(kind, **whole)
        self.lines.append({"type": kind, **whole})


def _shown(outcome: Outcome) -> JsonObject:
    """Return an outcome for the record, with the lease that a host says that it holds."""
    lease = outcome.told.get("lease")
    return {**outcome.as_json(), **({"lease": lease} if isinstance(lease, str) and lease else {})}
