# SPDX-License-Identifier: Apache-2.0
"""The hosts of a run: chosen once, recorded, and from then on known by their names; undo never chooses anew."""

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.targets import LOCAL, check_pattern, chosen
from chaosgpu.lease.run import Run

__all__ = ["hosts_for", "hosts_of_run", "recorded"]


def hosts_for(run: Run, hosts: object) -> tuple[str, ...]:
    """Return the names that a pattern means in this run; one that was not planned is chosen now and written down."""
    pattern = check_pattern(hosts)
    if pattern not in run.chosen:
        found = chosen([*run.chosen, pattern])[pattern]  # with all others: the blast radius is that of the run
        if pattern != LOCAL:
            run.ledger.append("run.chosen", hosts={pattern: [*found]})
        run.chosen[pattern] = found
    return run.chosen[pattern]


def hosts_of_run(run: Run) -> tuple[str, ...]:
    """Return every host that this run has chosen or has a lease on."""
    names = {host for found in run.chosen.values() for host in found} | {lease.host for lease in run.book.all()}
    return tuple(sorted(names)) or (LOCAL,)


def recorded(run: Run, hosts: object) -> tuple[str, ...]:
    """Return the recorded names that are meant: all of the run for None, else those of a pattern or a name of it."""
    every = hosts_of_run(run)
    if hosts is None:
        return every
    name = check_pattern(hosts)
    if name in run.chosen:
        return run.chosen[name]
    if name in every:
        return (name,)
    if name == LOCAL:
        return (LOCAL,)
    raise BadArgument(f"hosts={hosts!r} was not chosen in this run; its hosts are: {', '.join(every)}.")
