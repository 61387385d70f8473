# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drift`: in what hosts differ from a lock file or from each other, and what that breaks."""

import argparse

from chaosgpu.cli.fleet import add_options

__all__ = ["add_parser", "run"]

_TIMEOUT_S = 60.0
_CODES = "Exit code: 0 no drift, 1 drift, 2 an error, 3 no drift is known, but something could not be read."


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand, its verbs and their arguments."""
    parser = subparsers.add_parser(
        "drift",
        help="compare hosts with a lock file or with each other: driver, CUDA, libraries, firmware, settings",
        description="Compare hosts with a lock file or with each other. Nothing is changed on a host.",
        epilog=_CODES,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    baseline = verbs.add_parser("baseline", help="write a lock file from hosts as they are")
    _add_hosts(baseline)
    baseline.add_argument("--output", metavar="FILE", help="the lock file (default: print it)")
    baseline.add_argument("--anew", action="store_true", help="write a lock file anew that is there already")
    baseline.add_argument("--about", default="", metavar="TEXT", help="what this lock file is for, for its readers")
    baseline.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=HOST,HOST",
        help="hosts that should be alike (may be given again; default: all asked hosts as one group)",
    )
    scan = verbs.add_parser("scan", help="say which hosts are not what they should be", epilog=_CODES)
    scan.add_argument("--lock", metavar="FILE", help="the lock file (default: compare the hosts with each other)")
    _add_hosts(scan)
    scan.add_argument("--keep", metavar="FILE", help="keep the facts in this file, for diff or a later look")
    scan.add_argument("--explain", action="store_true", help="say what each difference breaks")
    scan.add_argument("--json", action="store_true", help="print JSON instead of lines")
    diff = verbs.add_parser("diff", help="compare two lock files, or two files of kept facts", epilog=_CODES)
    diff.add_argument("before", metavar="FILE")
    diff.add_argument("after", metavar="FILE")
    diff.add_argument("--json", action="store_true", help="print JSON instead of lines")
    pin = verbs.add_parser("pin", help="print what holds a host at its lock file, in apt's words or dnf's")
    pin.add_argument("--lock", required=True, metavar="FILE", help="the lock file")
    pin.add_argument("--host", required=True, metavar="HOST", help="for which host of the lock file")
    pin.add_argument("--json", action="store_true", help="print JSON: preferences and holds, or locks and a command")
    explain = verbs.add_parser("explain", help="say what differences break, or what a change would", epilog=_CODES)
    explain.add_argument("--lock", metavar="FILE", help="the lock file (default: compare the hosts with each other)")
    _add_hosts(explain)
    explain.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="KEY=VALUE",
        help="what if this value were another: print only what would break then (may be given again)",
    )
    explain.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hosts",
        action="append",
        default=[],
        metavar="HOST",
        help="a host to ask (may be given again; default: those of the lock file or the inventory, else localhost)",
    )
    add_options(parser)
    parser.add_argument("--facts", metavar="FILE", help="take kept facts from this file instead of asking hosts")
    parser.add_argument(
        "--service", action="append", default=[], metavar="UNIT", help="a service whose libraries count"
    )
    parser.add_argument(
        "--environment", action="append", default=[], metavar="NAME=PATH", help="a Python environment that counts"
    )
    parser.add_argument("--engines", action="append", default=[], metavar="PATH", help="a folder with TensorRT engines")
    parser.add_argument("--triton", metavar="PATH", help="the folder of the host's Triton server")
    parser.add_argument(
        "--timeout-s", type=float, default=_TIMEOUT_S, metavar="SECONDS", help="for the answers (default: 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what the verb says and return the exit code."""
    args.everyone = bool(getattr(args, "inventory", None)) and not args.hosts
    if getattr(args, "inventory", None):
        _use_inventory(args)
    if args.verb == "scan":
        from chaosgpu.cuda.scanning import scan_hosts  # noqa: PLC0415 (other subcommands need none of it)

        return scan_hosts(args)
    from chaosgpu.cuda import command  # noqa: PLC0415 (likewise)

    verbs = {
        "baseline": command.baseline,
        "diff": command.diff,
        "pin": command.pin,
        "explain": command.explain,
    }
    return verbs[args.verb](args)


def _use_inventory(args: argparse.Namespace) -> None:
    """Use the inventory that is named; the hosts that were asked for must be of it."""
    from chaosgpu.cli.fleet import hosts_meant, use_named  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.errors import BadArgument  # noqa: PLC0415 (likewise)

    use_named(args)
    strange = [host for host in args.hosts if host not in hosts_meant(args)]
    if strange:
        raise BadArgument(f"The inventory has no host {', '.join(strange)}; it has: {', '.join(hosts_meant(args))}.")
