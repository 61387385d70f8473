# SPDX-License-Identifier: Apache-2.0
"""Bring the hosts of a dead run back, from their own records; the run's ledger, where it is there, gets its end."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument, ChaosGpuError, LedgerBroken, Refused
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.values import objects, text
from chaosgpu.lease.book import Lease
from chaosgpu.lease.deeds import Deed, Settled
from chaosgpu.lease.directory import alive, alive_by_name, every_run, keep_alive
from chaosgpu.lease.history import Past, load
from chaosgpu.lease.ids import Names
from chaosgpu.lease.ledger import Ledger
from chaosgpu.lease.run import Run
from chaosgpu.lease.undo import undo_on
from chaosgpu.lease.verdict import Happened, judge

__all__ = ["Recovered", "dead_runs", "named", "open_on", "recover"]

_LOST = "the run was lost: its controller ended without a verdict"


@dataclass(frozen=True)
class Recovered:
    """How one run was brought back. `cut_off` names each host that gave no answer, and why."""

    run: str
    directory: Path | None
    leases: tuple[Lease, ...]
    cut_off: Mapping[str, str]
    # The verdict that the ledger got now; None where it has one, or where there is none to write to.
    verdict: str | None
    gaps: tuple[str, ...]
    # What came of what was done beside leases.
    settled: Settled = field(default_factory=Settled)

    @property
    def whole(self) -> bool:
        """Tell whether every host said that nothing of the run is left."""
        return not self.cut_off and not self.settled.not_restored and not any(lease.open for lease in self.leases)


def named(runs: Path, name: str) -> tuple[str, Path | None]:
    """Return the run that a person names, and its directory where there is one; else the name is taken as it is."""
    found = [path for path in every_run(runs) if path.name.startswith(name)]
    if len(found) > 1 and name not in {path.name for path in found}:
        raise BadArgument(f"{name!r} names {len(found)} runs in {runs}; `chaosgpu runs` lists them.")
    exact = [path for path in found if path.name == name] or found
    return (exact[0].name, exact[0]) if exact else (name, None)


def dead_runs(runs: Path, on_hosts: Iterable[str]) -> list[Path]:
    """List the runs of this folder that are dead and not finished, or of which a host still holds something."""
    held = set(on_hosts)
    every = [path for path in every_run(runs) if not alive(path) and not alive_by_name(path.name)]
    return [path for path in every if path.name in held or _unfinished(path)]


def _unfinished(path: Path) -> bool:
    past = load(path)
    return past.lost and past.lines > 0 and not past.ended


def open_on(hosts: Iterable[str], timeout_s: float) -> tuple[frozenset[str], dict[str, str]]:
    """Name the runs of which these hosts hold something now, and the hosts that could not say, each with its reason."""
    held: set[str] = set()
    cut_off: dict[str, str] = {}
    for host, answer in ask_everywhere(hosts, "list", {}, timeout_s).items():
        try:
            if isinstance(answer, ChaosGpuError):
                raise answer
            held |= {text(lease, "run") for lease in objects(answer, "leases")}
        except ChaosGpuError as error:
            cut_off[host] = str(error)
    return frozenset(held), cut_off


def recover(
    run_id: str,
    directory: Path | None,
    hosts: Iterable[str],
    timeout_s: float,
    *,
    force: bool = False,
    deeds: Callable[[Run], Sequence[Deed]] = lambda _: (),
) -> Recovered:
    """Undo what the hosts hold of a run and write what came of it; raise Refused for a run that lives.

    `deeds` finds in the run's record what was done beside leases and is not put back.
    """
    with contextlib.ExitStack() as held:
        lives = _take_over(run_id, directory, held)
        if lives and not force:
            raise Refused(
                f"The run {run_id} is alive, so it was left alone: stop it with Ctrl-C or SIGTERM, and it undoes "
                "everything itself. If it hangs, `chaosgpu recover --force` undoes beneath it; the run is then "
                "inconclusive."
            )
        past = None if directory is None else load(directory)
        run = _as_run(run_id, directory, past, silent=lives)
        run.deeds.extend(deeds(run))
        return _undo(run, past, directory, {*hosts, *(lease.host for lease in run.book.all())}, timeout_s)


def _take_over(run_id: str, directory: Path | None, held: contextlib.ExitStack) -> bool:
    """Take the run's lock, so that two do not recover it at once; return whether somebody else has it."""
    if directory is not None:
        try:
            held.enter_context(keep_alive(directory))
        except BlockingIOError:
            return True
        except OSError as error:
            raise LedgerBroken(f"The run directory {directory} cannot be used: {error.strerror}.") from error
        return False
    return alive_by_name(run_id)


def _as_run(run_id: str, directory: Path | None, past: Past | None, *, silent: bool) -> Run:
    """Make the dead run again from its ledger; one that has its end, or lives, is not written to."""
    names = Names()
    folder = Path("/nonexistent") if directory is None else directory
    run = Run(run_id, folder, Ledger(folder / "ledger.jsonl", run_id, names.now), names)
    run.closing.set()
    run.ledger.sealed = silent or past is None or past.ended or past.lines == 0
    for lease in () if past is None else past.leases:
        if lease.of_lifecycle:
            continue  # it comes last, and by a playbook of its own
        state = "unknown" if lease.open else lease.state
        run.book.put(
            Lease(
                lease.lease,
                lease.host,
                lease.fault,
                state,
                observed=lease.observed,
                restored=lease.restored,
                reason=lease.reason,
                was_active=lease.was_active,
            )
        )
    return run


def _undo(run: Run, past: Past | None, directory: Path | None, hosts: Iterable[str], timeout_s: float) -> Recovered:
    """Ask each host to undo the run, and write the end once nothing is open any more."""
    cut_off = {host: str(error) for host, error in undo_on(run, hosts, timeout_s, "recover").items()}
    settled = run.put_back("recover")
    leases = tuple(run.book.all())
    if past is None and not leases and not cut_off and not run.deeds:
        raise BadArgument(f"Nothing is known of a run {run.id!r}, neither here nor on a host: is its name right?")
    verdict = None
    if not run.ledger.sealed and not cut_off and not settled.unfinished and not any(lease.open for lease in leases):
        judgement = judge(Happened(crashed=_LOST, leases=leases, not_restored=settled.not_restored))
        reason = f"{judgement.reason}; recovered later"
        if run.note("run.finished", verdict=judgement.verdict.value, reason=reason, lost=True):
            verdict = judgement.verdict.value
    return Recovered(run.id, directory, leases, cut_off, verdict, tuple(run.gaps), settled)
