# SPDX-License-Identifier: Apache-2.0
"""What came of a playbook on one host, in one word and one sentence."""

import re
from dataclasses import dataclass, field

from chaosgpu.fleet.ansible.events import Event, Ran
from chaosgpu.fleet.ansible.minder import DEADLINE
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.values import JsonObject, whole_object

__all__ = ["Outcome", "outcome_of"]

# Under this name a playbook tells by `set_stats`, host by host, what came of it.
TOLD = "chaosgpu"
_LONGEST = 400
_SUDO = re.compile(r"(?i)(missing|incorrect|duplicate) (sudo|su|become|\w+) password|a password is required")


@dataclass(frozen=True)
class Outcome:
    """How a playbook went on a host.

    `how`: ok, failed, unreachable, or refused, which is: nothing was done there. `changed`: in how many tasks, by
    Ansible's own count; None where it did not come to count. `told`: what the playbook set of this host.
    """

    host: str
    how: str
    said: str = ""
    changed: int | None = None
    told: JsonObject = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tell whether it came to its end there and says that all is well."""
        return self.how == "ok"

    @property
    def may_have_changed(self) -> bool:
        """Tell whether something may be different there now."""
        return self.how != "refused" and self.changed != 0

    def as_json(self) -> JsonObject:
        """Return it for a record or an answer; what the playbook told is its own."""
        said: JsonObject = {"said": self.said} if self.said else {}
        return {"how": self.how, "changed": self.changed, **said}


def outcome_of(host: str, name: str, ran: Ran, timeout_s: float, *, must_tell: bool) -> Outcome:
    """Judge a host; `must_tell`: a playbook that ends without a word about a host has not come to its end there."""
    counts, failure = ran.counts.get(host), ran.failed.get(host)
    if host not in ran.begun:
        return _not_begun(host, name, ran, timeout_s)
    if counts is None:
        return Outcome(host, "failed", _short(_cut_off(host, name, ran, timeout_s)))
    told = whole_object(counts.told, TOLD)
    said = _short(str(told.get("said") or ""))
    if counts.unreachable:
        lost = f"{host} was lost in {name}: {_why(failure)}"
        return Outcome(host, "unreachable", _short(lost), None, told)
    if counts.failed:
        how = "refused" if failure is not None and _SUDO.search(failure.message) and not counts.changed else "failed"
        return Outcome(host, how, _short(f"{name} failed on {host}: {_why(failure)}"), counts.changed, told)
    if not told and (other := _broke_off(host, ran)) is not None:
        broken = f"{name} was broken off on {host}, since it failed on {other}"
        return Outcome(host, "failed", broken, counts.changed)
    if told.get("ok") is False:
        how = "refused" if told.get("refused") is True else "failed"
        return Outcome(
            host, how, said or f"{name} says of {host} that it is not well, and no more", counts.changed, told
        )
    if must_tell and told.get("ok") is not True:
        silent = f"{name} ended on {host} without saying what came of it"
        return Outcome(host, "failed", silent, counts.changed, told)
    return Outcome(host, "ok", said, counts.changed, told)


def _not_begun(host: str, name: str, ran: Ran, timeout_s: float) -> Outcome:
    """Say why nothing was done on a host."""
    broken = next((event.host for event in ran.failed.values() if event.breaks_off), None)
    if ran.status == DEADLINE:
        why = f"{name} did not get as far as {host} within {timeout_s:g} s, and was ended"
    elif broken is not None or ran.failed:
        why = f"{name} was not begun on {host}, since it failed on {broken or next(iter(ran.failed))}"
    elif ran.status != 0:
        why = f"{name} could not be played: {ran.said or f'ansible-playbook ended with status {ran.status}'}"
    else:
        why = f"no play of {name} is for {host}"
    return Outcome(host, "refused", _short(f"{why}; nothing was done there"), 0)


def _cut_off(host: str, name: str, ran: Ran, timeout_s: float) -> str:
    """Say where a playbook stood on a host when it was ended."""
    last = ran.failed.get(host) or ran.ended.get(host)
    where = f"after the task {last.task!r}" if last is not None and last.task else "in its first task"
    if ran.status == DEADLINE:
        return f"{name} did not end on {host} within {timeout_s:g} s and was ended {where}; what it began may go on"
    return f"{name} was ended on {host} {where}, with status {ran.status}: {ran.said or 'no reason given'}"


def _broke_off(host: str, ran: Ran) -> str | None:
    """Name another host whose failure ended the play for all."""
    for other, event in ran.failed.items():
        counts = ran.counts.get(other)
        if other != host and event.breaks_off and counts is not None and (counts.failed or counts.unreachable):
            return other
    return None


def _why(failure: Event | None) -> str:
    if failure is None:
        return "no reason given"
    task = f"the task {failure.task!r}: " if failure.task else ""
    return f"{task}{failure.message or 'no reason given'}"


def _short(said: str) -> str:
    """Put what was said on one line, without secrets."""
    text = redact_text(" ".join(said.split())).rstrip(". ")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
