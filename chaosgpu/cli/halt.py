# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu halt`: the kill switch. Every host undoes everything and takes no new fault until it is resumed."""

import argparse
import sys
from typing import TYPE_CHECKING

from chaosgpu.cli.fleet import add_options

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "halt",
        help="stop everything: undo all faults on all known hosts and refuse new ones until `chaosgpu resume`",
        description="Undo every fault on every known host, and latch: no new fault until `chaosgpu resume`. Runs in "
        "progress stop. On a host without network: touch /run/chaosgpu/HALT.",
        epilog="Exit code: 0 every host is halted and clean, 2 a wrong command line, 5 a host is cut off or a lease "
        "is stuck.",
    )
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; others will ask")
    parser.add_argument("--by", metavar="NAME", help="who (default: who is logged in)")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=90.0, metavar="SECONDS", help="for each host (default: 90)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Halt each known host, say what was undone there, and return the exit code."""
    from chaosgpu.cli.switch import turn  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.everywhere import CUT_OFF  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.verdict import EXIT_CODES, Verdict  # noqa: PLC0415 (likewise)

    bad = False
    for host, answer in turn("halt", args).items():
        if isinstance(answer, Exception):
            bad = True
            _write(f"{host}  {CUT_OFF}, nobody knows what is in force there: {answer}")
            _write(f"{host}  on the host itself: touch /run/chaosgpu/HALT")
            continue
        bad |= _tell(host, answer)
    return EXIT_CODES[Verdict.UNSAFE] if bad else 0


def _tell(host: str, answer: "JsonObject") -> bool:
    """Print what a host did; return whether anything is left."""
    from chaosgpu.cli.switch import sentence  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.values import objects, text, whole_object  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.lines import brief  # noqa: PLC0415 (likewise)

    _write(f"{host}  halted {sentence(answer.get('halted'))}")
    left = False
    leases = objects(answer, "leases")
    for lease in leases:
        named = f"{lease.get('fault')} of run {lease.get('run')} ({lease.get('lease')})"
        if text(lease, "state") == "clean":
            _write(f"{host}  undone {named}: {brief(whole_object(lease, 'restored')) or 'nothing was left to restore'}")
        else:
            left = True
            _write(f"{host}  NOT UNDONE {named}: {lease.get('state')}, {lease.get('reason') or 'no reason given'}")
    if not leases:
        _write(f"{host}  nothing was in force")
    return left


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
