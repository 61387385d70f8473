# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu recover`: bring the hosts of dead runs back, from the hosts' own records."""

import argparse
import json
import logging
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from chaosgpu.cli.fleet import add_options, hosts_meant

if TYPE_CHECKING:
    from pathlib import Path

    from chaosgpu.lease.deeds import Deed
    from chaosgpu.lease.recover import Recovered
    from chaosgpu.lease.run import Run

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "recover",
        help="undo what a dead run left on its hosts, with or without its record here",
        description="Undo what the hosts hold of a run whose controller is gone, and write the end into its ledger "
        "where that is here. Without a name: every dead run of this folder (.chaosgpu/runs or $CHAOSGPU_RUNS).",
        epilog="Exit code: 0 nothing of these runs is left, 2 refused or a wrong name, 5 a host is cut off or a lease "
        "is stuck.",
    )
    parser.add_argument("name", nargs="?", metavar="RUN", help="the run's name, or the beginning of one of this folder")
    parser.add_argument("--force", action="store_true", help="also if the run is alive, as one that hangs is")
    parser.add_argument(
        "--give-back",
        action="store_true",
        help="with a name: put hosts back into service that a failed step before the method left out of it",
    )
    parser.add_argument(
        "--playbooks",
        metavar="FOLDER",
        help="where the run's record is gone: a site's own rollback.yml, verify.yml, return.yml and quarantine.yml",
    )
    parser.add_argument(
        "--older-than-minutes",
        type=float,
        metavar="MINUTES",
        help="without a name: runs that began so long ago, and others of which a host holds something, but no younger "
        "one; for a job that knows how long a run lasts at most and cannot see whether one lives",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=90.0, metavar="SECONDS", help="for each host (default: 90)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Recover, say what came of it, and return the exit code."""
    from chaosgpu.errors import ChaosGpuError  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lease.directory import home  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.recover import dead_runs, named, open_on, recover  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.verdict import EXIT_CODES, Verdict  # noqa: PLC0415 (likewise)
    from chaosgpu.lifecycle.course import run_of  # noqa: PLC0415 (likewise)
    from chaosgpu.lifecycle.found import drained_for  # noqa: PLC0415 (likewise)
    from chaosgpu.lifecycle.recover import unfinished_runs  # noqa: PLC0415 (likewise)

    # The undo speaks to the log of a run; here its outcome is printed below.
    logging.getLogger("chaostoolkit").addHandler(logging.NullHandler())
    runs = home()
    cut_off: dict[str, str] = {}
    held: frozenset[str] = frozenset()
    if args.name is not None:
        chosen: list[tuple[str, Path | None]] = [named(runs, args.name)]
    else:
        known = hosts_meant(args)
        named_there, cut_off = open_on(known, args.timeout_s)
        held = frozenset(run_of(name) for name in named_there) | drained_for(known).keys()
        chosen = [(path.name, path) for path in dead_runs(runs, held | {*unfinished_runs(runs)})]
        chosen = _old(chosen, held, args.older_than_minutes)
    found: list[Recovered] = []
    failed: dict[str, str] = {}
    for name, path in chosen:
        try:
            hosts = _hosts(args, path)
            give_back = args.give_back and args.name is not None
            deeds = partial(_left, hosts=hosts, playbooks=args.playbooks, give_back=give_back)
            found.append(recover(name, path, hosts, args.timeout_s, force=args.force, deeds=deeds))
        except ChaosGpuError as error:
            if args.name is not None:
                raise
            failed[name] = str(error)  # one that came alive, or whose folder is not ours, keeps no other waiting
    others = sorted(held - {one.run for one in found} - failed.keys())
    if args.json:
        document = {
            "runs": [_as_json(one) for one in found],
            "other_runs": others,
            "failed": failed,
            "cut_off": cut_off,
        }
        _write(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _tell(found, cut_off | failed, others)
    bad = bool(cut_off or failed) or not all(one.whole for one in found)
    return EXIT_CODES[Verdict.UNSAFE] if bad else 0


def _left(run: "Run", *, hosts: tuple[str, ...], playbooks: str | None, give_back: bool) -> "list[Deed]":
    """Return what the run did beside leases and is not put back."""
    from chaosgpu.lifecycle.recover import left_to_do  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.vectordb.left import left_in_databases  # noqa: PLC0415 (likewise)

    of_hosts = left_to_do(run, hosts=hosts, playbooks=playbooks, give_back=give_back)
    return [*of_hosts, *left_in_databases(run)]


def _old(
    chosen: "list[tuple[str, Path | None]]", held: Iterable[str], minutes: float | None
) -> "list[tuple[str, Path | None]]":
    """Add the runs that others hold and take out the young ones, where an age is given: a run's name has its start."""
    if minutes is None:
        return chosen
    names: dict[str, Path | None] = {**dict.fromkeys(held), **dict(chosen)}
    latest = datetime.now(UTC) - timedelta(minutes=minutes)
    return [(name, path) for name, path in names.items() if (began := _began(name)) is not None and began < latest]


def _began(run: str) -> datetime | None:
    """Read from a run's name when it began; None where it is no name of ours."""
    try:
        return datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _hosts(args: argparse.Namespace, path: "Path | None") -> tuple[str, ...]:
    """Return the hosts to be asked: those of the command line, else those that the run's own record names."""
    from chaosgpu.fleet.ask import use_inventory  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lease.history import load  # noqa: PLC0415 (likewise)

    past = None if path is None or args.inventory else load(path)
    if past is None or past.inventory is None:
        return hosts_meant(args)
    use_inventory(past.inventory)
    return past.hosts


def _tell(found: "list[Recovered]", trouble: dict[str, str], others: list[str]) -> None:
    """Print each run, what kept us from others, and the runs that nobody may judge from here."""
    for one in found:
        _tell_run(one)
    for what, why in trouble.items():
        _write(f"{what}  NOT RECOVERED, nobody knows what is in force: {why}")
    for name in others:
        _write(f"{name}  holds something and is no dead run of this folder; if it is dead: recover {name}")
    if not found and not trouble and not others:
        _write("no dead run has left anything")


def _tell_run(one: "Recovered") -> None:
    """Print how one run was brought back."""
    from chaosgpu.fleet.everywhere import CUT_OFF  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lease.lines import undo_line  # noqa: PLC0415 (likewise)

    _write(f"{one.run}  {'nothing of it is left' if one.whole else 'NOT RECOVERED'}")
    for lease in one.leases:
        _write(f"  {undo_line(lease)}")
    for sentence in (*one.settled.not_restored, *([one.settled.stopped] if one.settled.stopped else [])):
        _write(f"  {sentence}")
    for host, why in one.cut_off.items():
        _write(f"  {host}  {CUT_OFF}, nobody knows what is in force there: {why}")
        _write(f"  {host}  what it holds ends there at its deadline; on the host itself: touch /run/chaosgpu/HALT")
    for gap in one.gaps[:1]:
        _write(f"  the record is incomplete: {gap}")
    if one.verdict is not None:
        _write(f"  its ledger now ends with the verdict {one.verdict}: {one.directory}")
    elif one.directory is None:
        _write("  there is no record of it here: the hosts' own records are the proof")


def _as_json(one: "Recovered") -> dict[str, object]:
    """Return a run as JSON."""
    leases = [
        {key: getattr(lease, key) for key in ("lease", "host", "fault", "state", "restored", "reason")}
        for lease in one.leases
    ]
    return {
        "run": one.run,
        "recovered": one.whole,
        "leases": leases,
        "cut_off": dict(one.cut_off),
        "verdict": one.verdict,
        "directory": None if one.directory is None else str(one.directory),
        "gaps": list(one.gaps),
        "not_restored": list(one.settled.not_restored),
    }


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
