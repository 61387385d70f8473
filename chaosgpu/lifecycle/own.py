# SPDX-License-Identifier: Apache-2.0
"""Playbooks of a user's own in a run: each has one that undoes it, only looks, or is said aloud to have none."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.play import Outcome, Playbook, digest_of, play
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.lease.deeds import Settled
from chaosgpu.lease.run import Run

__all__ = ["Own", "OwnPlaybooks", "pending_of"]

logger = logging.getLogger("chaostoolkit")

_BEGUN, _DONE = "playbook.begun", "playbook.done"


@dataclass(frozen=True)
class Own:
    """One playbook of a user's. `hosts`: where something may have been done that is not undone."""

    number: int
    file: Path
    hosts: tuple[str, ...]
    timeout_s: float
    undo: Path | None = None
    # With `--check`: it says what it would do.
    check: bool = False
    variables: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def undone_by_nothing(self) -> bool:
        """Tell whether what it changes stays."""
        return self.undo is None and not self.check

    def as_json(self) -> JsonObject:
        """Return it for the record; without secrets, which the ledger takes out and variables of them never hold."""
        return {
            "number": self.number,
            "playbook": str(self.file),
            "sha256": digest_of(self.file),
            "undo_playbook": None if self.undo is None else str(self.undo),
            "no_undo": self.undone_by_nothing,
            "check": self.check,
            "hosts": [*self.hosts],
            "timeout_s": self.timeout_s,
            "variables": dict(self.variables),
        }


def pending_of(entries: Iterable[Mapping[str, JsonValue]]) -> list[Own]:
    """Read from a record which playbooks are still to be undone, and on which hosts."""
    found: dict[int, Own] = {}
    for entry in entries:
        number = entry.get("number")
        if not isinstance(number, int):
            continue
        if entry.get("type") == _BEGUN:
            found[number] = _own(number, entry)
        elif entry.get("type") == _DONE and number in found:
            found[number] = _less(found[number], entry)
    return [own for own in found.values() if own.undo is not None and own.hosts]


def _own(number: int, entry: Mapping[str, JsonValue]) -> Own:
    hosts, variables, undo = entry.get("hosts"), entry.get("variables"), entry.get("undo_playbook")
    timeout_s = entry.get("timeout_s")
    return Own(
        number,
        Path(str(entry.get("playbook"))),
        tuple(str(host) for host in hosts) if isinstance(hosts, list) else (),
        float(timeout_s) if isinstance(timeout_s, (int, float)) else 600.0,
        Path(undo) if isinstance(undo, str) else None,
        variables=variables if isinstance(variables, dict) else {},
    )


def _less(own: Own, entry: Mapping[str, JsonValue]) -> Own:
    """Take out the hosts on which nothing was done, or all of it is undone."""
    hosts = entry.get("hosts")
    rid = "ok" if entry.get("undo") is True else "refused"
    gone = (
        {host for host, one in hosts.items() if isinstance(one, dict) and one.get("how") == rid}
        if isinstance(hosts, dict)
        else set()
    )
    return replace(own, hosts=tuple(host for host in own.hosts if host not in gone))


class OwnPlaybooks:
    """The user's own playbooks of one run; a deed."""

    with_rollbacks, rank = True, 0

    def __init__(self, run: Run, lines: Iterable[JsonObject] = ()) -> None:
        self._run = run
        self._lines = [*lines]
        self._secrets: dict[int, Mapping[str, JsonValue]] = {}
        self._unproved: list[str] = []
        self._done: list[str] = []
        self._failed: dict[str, str] = {}

    def play(self, own: Own, secrets: Mapping[str, JsonValue]) -> dict[str, Outcome]:
        """Play one: intent on disk first; what nothing undoes is said aloud."""
        entry: JsonObject = {"drill": self._run.id, **own.as_json()}
        self._run.ledger.append(_BEGUN, **entry)
        self._lines.append({"type": _BEGUN, **entry})
        self._secrets[own.number] = secrets
        if own.undone_by_nothing:
            logger.warning("%s has no undo_playbook: what it changes on %s stays", own.file, ", ".join(own.hosts))
        options = ("--check", "--diff") if own.check else ()
        found = self._played(own.file, own, own.hosts, options)
        self._note(own, found, undo=False)
        if not own.check:
            self._done.append(own.file.name)
        changed = [host for host, one in found.items() if one.may_have_changed]
        if own.undone_by_nothing and changed:
            self._unproved.append(
                f"{own.file.name} changed {', '.join(changed)} and nothing undoes that, as no_undo says: not "
                "everything was put back"
            )
        return found

    @property
    def next_number(self) -> int:
        """Return the number of the next one."""
        return sum(line.get("type") == _BEGUN for line in self._lines) + 1

    def put_back(self, by: str) -> None:  # noqa: ARG002 (a deed's)
        """Undo them, the last first, where that is still due; again is harmless."""
        for own in reversed(pending_of(self._lines)):
            if own.undo is None:
                continue
            logger.info("UNDO %s by %s on %s", own.file.name, own.undo.name, ", ".join(own.hosts))
            try:
                found = self._played(own.undo, own, own.hosts)
            except ChaosGpuError as error:
                found = {host: Outcome(host, "failed", str(error)) for host in own.hosts}
            self._note(own, found, undo=True)
            for host, one in found.items():
                self._failed.pop(f"{own.number} {host}", None)
                if not one.ok:
                    self._failed[f"{own.number} {host}"] = (
                        f"what {own.file.name} did is not undone: {one.said or one.how}"
                    )
                    logger.error("%s: %s", host, self._failed[f"{own.number} {host}"])

    def settled(self) -> Settled:
        """Say what is not undone, and what nothing undoes."""
        spoilt = {key.partition(" ")[2]: why for key, why in self._failed.items()}
        left = tuple(f"{host}: {why}" for host, why in spoilt.items())
        return Settled(left, left, tuple(self._unproved), None, tuple(self._done), spoilt)

    def _played(self, file: Path, own: Own, hosts: Iterable[str], options: Iterable[str] = ()) -> dict[str, Outcome]:
        theirs = {**self._secrets.get(own.number, {}), **own.variables}
        ours: JsonObject = {"chaosgpu_drill": self._run.id}
        return play(Playbook(file, ours, theirs), [*hosts], own.timeout_s, *options)

    def _note(self, own: Own, found: Mapping[str, Outcome], *, undo: bool) -> None:
        hosts: JsonObject = {host: one.as_json() for host, one in found.items()}
        entry: JsonObject = {"drill": self._run.id, "number": own.number, "undo": undo, "hosts": hosts}
        self._run.note(_DONE, **entry)
        self._lines.append({"type": _DONE, **entry})
