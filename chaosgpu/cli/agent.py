# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu agent VERB`: ask the agent of one host by hand."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from chaosgpu.cli.fleet import add_options, hosts_meant
from chaosgpu.errors import BadArgument

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["add_parser", "run"]

_VERBS = ("apply", "doctor", "facts", "halt", "list", "read", "record", "renew", "resume", "sweep", "undo")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "agent",
        help="ask the agent of a host by hand: list, undo, halt, resume and the rest",
        description="Hand one request to the agent of this host, or of one host of an inventory, and print its answer.",
        epilog="Exit code: 0 answered, 1 the agent answered an error, 2 it could not be asked, 5 something is stuck.",
    )
    parser.add_argument("verb", choices=_VERBS, metavar="VERB", help=", ".join(_VERBS))
    parser.add_argument("--json", default="{}", metavar="OBJECT", help="the rest of the request as JSON; '-' reads it")
    parser.add_argument("--all", action="store_true", help="undo: every lease of this host")
    parser.add_argument("--run", dest="of_run", metavar="RUN", help="undo, list, renew: the leases of one run")
    parser.add_argument("--lease", metavar="LEASE", help="undo, record: one lease")
    parser.add_argument("--verify", action="store_true", help="list: look again whether each fault is in force")
    parser.add_argument("--reason", metavar="TEXT", help="halt, resume: why")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask, print the answer as it came, and return the exit code."""
    from chaosgpu.fleet.ask import ask_raw  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lease.verdict import EXIT_CODES, Verdict  # noqa: PLC0415 (other subcommands need none of it)

    hosts = hosts_meant(args)
    if len(hosts) != 1:
        raise BadArgument(
            f"One host is asked by hand, and {len(hosts)} are meant ({', '.join(hosts)}): name it with --limit."
        )
    answer = ask_raw(hosts[0], args.verb, _request(args), args.timeout_s)
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    if "error" in answer:
        return 1
    leases = answer.get("leases")
    stuck = isinstance(leases, list) and any(isinstance(one, dict) and one.get("state") == "stuck" for one in leases)
    return EXIT_CODES[Verdict.UNSAFE] if stuck else 0


def _request(args: argparse.Namespace) -> "JsonObject":
    """Put the request together; `by` is whoever is logged in."""
    from chaosgpu.fleet.ask import operator  # noqa: PLC0415 (other subcommands need none of it)

    try:
        given = json.loads(sys.stdin.read() if args.json == "-" else args.json)
    except ValueError as error:
        raise BadArgument(f"--json must be a JSON object: {error}.") from error
    if not isinstance(given, dict):
        raise BadArgument(f"--json must be a JSON object, not {args.json}.")
    if args.verb in ("halt", "resume"):
        if not (args.reason or given.get("reason")):
            raise BadArgument(f"{args.verb} needs --reason: others will ask why.")
        given.setdefault("by", operator())
    named = {"run": args.of_run, "lease": args.lease, "reason": args.reason}
    given.update({name: value for name, value in named.items() if value is not None})
    given.update({name: True for name in ("all", "verify") if getattr(args, name)})
    return given
