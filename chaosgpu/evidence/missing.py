# SPDX-License-Identifier: Apache-2.0
"""Say exactly what a record lacks: a controller that is killed at any moment leaves one that lacks its rest."""

from collections.abc import Iterator

from chaosgpu.evidence.contents import PLAN, Contents
from chaosgpu.evidence.gather import LEDGER
from chaosgpu.evidence.names import plain_name
from chaosgpu.evidence.story import LeaseTimes

__all__ = ["missing"]


def missing(contents: Contents) -> list[str]:
    """Return a sentence for each thing that a whole record has and this one has not."""
    return [*contents.log.missing, *_of_log(contents), *_of_ledger(contents), *_of_files(contents)]


def _of_log(contents: Contents) -> Iterator[str]:
    attempt = contents.attempt
    if attempt is None:
        yield (
            f"No attempt in the site's log ends with run {contents.run or '(unnamed)'}: that this run is one of all "
            "that there were is not shown."
        )
    elif PLAN not in contents.files:
        yield f"The plan of drill {attempt.drill} is not in the bundle: the log knows it by {attempt.plan_sha256}."


def _of_ledger(contents: Contents) -> Iterator[str]:
    story, ledger = contents.story, contents.ledger
    if LEDGER not in contents.files or not ledger.entries:
        yield "The run has no ledger: nothing that it did is recorded."
        return
    if ledger.torn:
        yield f"The ledger's last line is torn: {ledger.torn} bytes of a line that was being written."
    last = ledger.entries[-1]
    ends = f"the ledger ends with line {len(ledger.entries)}, {last.get('type')}, at {last.get('at')}"
    if story.planned is None:
        yield f"The ledger has no run.planned: {ends}."
    refused = story.finished is not None and not story.leases
    if story.started is None and not refused:
        yield f"The ledger has no run.started: {ends}."
    if story.finished is None:
        yield f"The ledger has no run.finished: the run has no verdict; {ends}."
    for lease in story.leases:
        if lease.open and lease.state != "stuck":
            yield f"{lease.fault or 'A fault'} on {lease.host} ({lease.lease}) has no end: {_open(lease)}."
    for step in story.unfinished_steps:
        yield f"There is no end of {step}."


def _open(lease: LeaseTimes) -> str:
    """Say how far a lease came."""
    if lease.state == "reverting":
        return f"its undo was asked for at {lease.reverting} and no answer is recorded"
    if lease.state == "active":
        return f"it was in force at {lease.active} and no undo is recorded"
    return f"the host was asked for it at {lease.reserved} and no answer is recorded"


def _of_files(contents: Contents) -> Iterator[str]:
    files, story = contents.files, contents.story
    if "run/experiment.json" not in files:
        yield "experiment.json is not there: what was played is known by its digest alone."
    if "run/journal.json" not in files:
        yield "journal.json is not there: Chaos Toolkit wrote no journal."
    elif contents.journal is None:
        yield "journal.json is not whole: it is no JSON object."
    elif contents.journal_verdict is None:
        yield "The journal has no verdict: it was not written to its end."
    elif story.finished is None and contents.journal_verdict is not None:
        yield f"The journal says {contents.journal_verdict}, and the ledger has no line for it."
    # A run that was refused touched no host, so nobody looked again.
    for folder, host in contents.hosts.items() if story.started is not None else ():
        place = f"run/hosts/{folder}"
        for name, other in (("before", "after"), ("baseline", "restored")):
            if f"{place}/{name}.json" in files and f"{place}/{other}.json" not in files:
                yield f"{host} has {name}.json and no {other}.json: how the host was left is not recorded."
    for host in _seldom_seen(contents):
        yield f"{host} had a fault and no before.json: how the host was is not recorded."


def _seldom_seen(contents: Contents) -> list[str]:
    """Name the hosts that had a fault in force and were not looked at before."""
    hosts = {lease.host for lease in contents.story.leases if lease.active is not None}
    return sorted(host for host in hosts if f"run/hosts/{plain_name(host)}/before.json" not in contents.files)
