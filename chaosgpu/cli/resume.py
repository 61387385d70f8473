# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu resume`: permit faults again on every known host, in somebody's name and for a reason."""

import argparse
import sys

from chaosgpu.cli.fleet import add_options

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "resume",
        help="permit faults again after `chaosgpu halt`",
        description="Take the kill switch back on every known host. The hosts keep both names and both reasons.",
        epilog="Exit code: 0 every host takes faults again, 2 a wrong command line, 5 a host is cut off.",
    )
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; others will ask")
    parser.add_argument("--by", metavar="NAME", help="who (default: who is logged in)")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=30.0, metavar="SECONDS", help="for each host (default: 30)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Resume each known host and return the exit code."""
    from chaosgpu.cli.switch import sentence, turn  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.everywhere import CUT_OFF  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.verdict import EXIT_CODES, Verdict  # noqa: PLC0415 (likewise)

    bad = False
    for host, answer in turn("resume", args).items():
        if isinstance(answer, Exception):
            bad = True
            sys.stdout.write(f"{host}  {CUT_OFF}, it is as it was: {answer}\n")
            continue
        sys.stdout.write(f"{host}  takes faults again; it was halted {sentence(answer.get('was'))}\n")
    return EXIT_CODES[Verdict.UNSAFE] if bad else 0
