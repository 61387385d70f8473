# SPDX-License-Identifier: Apache-2.0
"""How hosts are before and after: facts that are kept beside the record, and the difference between the two."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.cuda.compare import between
from chaosgpu.cuda.facts import Facts, LookAt, read_facts, take_facts
from chaosgpu.cuda.flat import flat, shown
from chaosgpu.errors import BadArgument, ChaosGpuError, LedgerBroken
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.directory import write_json
from chaosgpu.lifecycle.course import Course

__all__ = ["Compared", "compare", "take_baseline"]

logger = logging.getLogger("chaostoolkit")

_READ_S = 120.0
_SHOWN = 5
_BEFORE, _AFTER = "baseline", "restored"


@dataclass(frozen=True)
class Compared:
    """How a host differs from its baseline; `unread`: what was known then and cannot be read now.

    `why_not`: why nothing could be compared; None where it was.
    """

    differences: tuple[JsonObject, ...] = ()
    unread: tuple[str, ...] = ()
    why_not: str | None = None

    @property
    def told(self) -> list[str]:
        """Return each difference in words."""
        told = [f"{one['key']} was {one['before']} and is {one['after']}" for one in self.differences]
        return told + [f"{one}, which was known before, cannot be read" for one in self.unread]

    @property
    def reason(self) -> str | None:
        """Say why the host is not as it was; None where it is."""
        if self.why_not is not None:
            return self.why_not
        told = self.told
        more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        return f"{'; '.join(told[:_SHOWN])}{more}" if told else None


def take_baseline(course: Course, hosts: Sequence[str]) -> dict[str, str]:
    """Keep each host's facts and write their digest down; return the hosts that could not tell, and why."""
    failed: dict[str, str] = {}
    for host, found in take_facts(hosts, LookAt(), _READ_S).items():
        if isinstance(found, ChaosGpuError):
            failed[host] = f"its facts could not be read: {found}"
            continue
        try:
            file = _keep(course, found, _BEFORE)
        except LedgerBroken as error:
            failed[host] = str(error)
            continue
        course.note("host.baseline", host=host, file=file, driver=found.section("driver"), facts_sha256=_digest(found))
    return failed


def compare(course: Course, hosts: Iterable[str]) -> dict[str, Compared]:
    """Compare hosts with their baselines; what cannot be compared is not as it was."""
    named = [*hosts]
    found: dict[str, Compared] = {}
    for host, after in take_facts(named, LookAt(), _READ_S).items() if named else ():
        if isinstance(after, ChaosGpuError):
            found[host] = Compared(why_not=f"its facts could not be read: {after}")
            continue
        try:
            _keep(course, after, _AFTER)
        except LedgerBroken as error:
            course.run.lacks(str(error))
        found[host] = _compared(course, host, after)
    return found


def _compared(course: Course, host: str, after: Facts) -> Compared:
    try:
        before = read_facts(_path(course, host, _BEFORE))[host]
    except (BadArgument, KeyError) as error:
        return Compared(why_not=f"its baseline could not be read: {error}")
    then, now = flat(before), flat(after)
    differences: list[JsonObject] = []
    unread: list[str] = []
    for one in between(then.values, now.values, host):
        if one.due is None and then.why(one.key) is not None:
            continue  # nobody knew it before
        if one.found is None and now.why(one.key) is not None:
            unread.append(one.key)
        else:
            differences.append({"key": one.key, "before": shown(one.due), "after": shown(one.found)})
    return Compared(tuple(differences), tuple(unread))


def _keep(course: Course, facts: Facts, moment: str) -> str:
    """Write facts into the run directory, in the form that `chaosgpu drift --facts` reads."""
    path = _path(course, facts.host, moment)
    write_json(path, {"facts": {facts.host: {"values": facts.values, "unknown": dict(facts.unknown)}}})
    return str(path.relative_to(course.run.directory))


def _path(course: Course, host: str, moment: str) -> Path:
    return course.run.directory / "hosts" / host / f"{moment}.json"


def _digest(facts: Facts) -> str:
    return hashlib.sha256(json.dumps(facts.values, sort_keys=True).encode()).hexdigest()
