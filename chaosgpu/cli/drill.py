# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drill`: plan, preview, approve, run, watch, stop and schedule drills."""

import argparse
import importlib
import sys
from pathlib import Path

__all__ = ["add_parser", "run"]

_REFUSED = 4
_SITE = "the site's settings ($CHAOSGPU_SITE, else /etc/chaosgpu/site.yaml where it is there)"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand, its verbs and their arguments."""
    parser = subparsers.add_parser(
        "drill",
        help="plan, preview, approve, run, watch, stop and schedule drills",
        description="Drills by a plan that somebody else has approved, within its window, on record from before the "
        "first fault (docs/drills.md).",
        epilog="Exit code: 0 well, 2 a wrong command line or plan, 3 deviated, 4 refused or inconclusive, 5 something "
        "was not put back, 6 still under way.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help=_SITE)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    plan = _verb(verbs, "plan", "check a plan, say when it opens, and put it on record")
    plan.add_argument("--check", action="store_true", help="check it, and put nothing on record")
    preview = _verb(verbs, "preview", "show hosts, GPUs, their processes, Slurm jobs and the undo; touches nothing")
    preview.add_argument("--json", action="store_true", help="print JSON instead of lines")
    approve = _verb(verbs, "approve", "sign a plan with an SSH key, as somebody other than its operator")
    approve.add_argument("--key", type=Path, metavar="FILE", help="a private key, or a public one of the agent's")
    approve.add_argument("--as", dest="by", metavar="NAME", help="your name in the site's allowed signers")
    approve.add_argument("--show", action="store_true", help="print what would be signed, and sign nothing")
    started = _verb(verbs, "run", "run a drill: window, gate, approvals, then each experiment of the plan")
    started.add_argument("--scheduled", action="store_true", help="as a timer does: on record as that start")
    started.add_argument("--sha256", metavar="DIGEST", help="only if the plan has this digest")
    status = verbs.add_parser("status", help="say where drills stand", description="Say where drills stand.")
    status.add_argument("name", nargs="?", metavar="DRILL", help="the beginning of its name, or its plan's name")
    status.add_argument("--json", action="store_true", help="print JSON instead of lines")
    stop = verbs.add_parser("stop", help="stop a drill in order: undo, then end", description="Stop a drill in order.")
    stop.add_argument("name", nargs="?", metavar="DRILL", help="the beginning of its name, or its plan's name")
    stop.add_argument("--reason", required=True, metavar="TEXT", help="why; it goes on record")
    stop.add_argument("--halt", action="store_true", help="and halt its hosts: undo everything there, and latch")
    stop.add_argument(
        "--within-s", type=float, default=120.0, metavar="SECONDS", help="wait for its end (default: 120)"
    )
    schedule = verbs.add_parser(
        "schedule",
        help="write a plan's systemd units or AWX data, end a schedule, or look for missed drills",
        description="Let a plan run by itself, and write down where it did not.",
    )
    schedule.add_argument("plan", nargs="?", type=Path, metavar="PLAN", help="a plan in YAML")
    how = schedule.add_mutually_exclusive_group(required=True)
    how.add_argument("--systemd", type=Path, metavar="FOLDER", help="write the units there, as /etc/systemd/system")
    how.add_argument("--awx", metavar="FILE", help="print AWX data; FILE is the plan's place in the AWX project")
    how.add_argument("--off", action="store_true", help="it is no longer due from now on")
    how.add_argument("--check", action="store_true", help="record drills that were due and did not run, or died")
    schedule.add_argument("--user", metavar="NAME", help="with --systemd: who runs it (default: root)")
    schedule.add_argument("--organization", default="Default", metavar="NAME", help="with --awx (default: Default)")
    return parser


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, about: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("plan", type=Path, metavar="PLAN", help="a plan in YAML")
    return parser


def run(args: argparse.Namespace) -> int:
    """Call the verb; what is refused has a code of its own."""
    from chaosgpu.errors import Refused  # noqa: PLC0415 (other subcommands need none of it)

    module = "drill_run" if args.verb in ("run", "status", "stop") else "drill_plan"
    verb = getattr(importlib.import_module(f"chaosgpu.cli.{module}"), f"{args.verb}_verb")
    try:
        return int(verb(args))
    except Refused as error:
        sys.stderr.write(f"Refused: {error}\n")
        return _REFUSED
