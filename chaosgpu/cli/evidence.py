# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu evidence`: the site's log of drills, and what an auditor gets of them."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chaosgpu.cli.evidence_bundle import BROKEN, INCOMPLETE, add_export, add_verify, export, verify_bundles
from chaosgpu.errors import BadArgument

if TYPE_CHECKING:
    from chaosgpu.evidence.log_rules import Log
    from chaosgpu.fleet.values import JsonObject

__all__ = ["add_parser", "run"]

_SHOWN = ("run", "verdict", "by", "host", "what", "due", "where", "reason")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "evidence",
        help="the site's log of drills, and signed bundles of runs",
        description="Show and check what stands as evidence: docs/evidence.md.",
        epilog="Exit code: 0 it holds, 4 it holds and something is missing, 5 it was changed.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    log = verbs.add_parser("log", help="show the site's evidence log and check it")
    log.add_argument(
        "--site", type=Path, metavar="DIR", help="the site's folder (default: $CHAOSGPU_EVIDENCE, .chaosgpu/evidence)"
    )
    log.add_argument(
        "--against", type=Path, metavar="FILE", help="a checkpoint from earlier, from which the log must go on"
    )
    log.add_argument(
        "--given-to", metavar="WHERE", help="print the checkpoint, and note in the log who has it from now on"
    )
    shown = log.add_mutually_exclusive_group()
    shown.add_argument("--checkpoint", action="store_true", help="print the three lines that name the log as it is now")
    shown.add_argument("--json", action="store_true", help="print JSON instead of lines")
    add_export(verbs.add_parser("export", help="make a bundle of a run that an auditor can check without this program"))
    add_verify(verbs.add_parser("verify", help="check bundles; each rule is in chaosgpu/evidence/verify.py"))
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    return {"log": _log, "export": export, "verify": verify_bundles}[args.verb](args)


def _log(args: argparse.Namespace) -> int:
    """Show the log; the exit code says whether it holds."""
    from chaosgpu.evidence.checkpoint import head_of, read_checkpoint  # noqa: PLC0415 (other subcommands need none)
    from chaosgpu.evidence.log import home, read_raw  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.log_rules import read_log  # noqa: PLC0415 (likewise)

    site = args.site or home()
    log = read_log(*read_raw(site))
    if args.given_to is not None:
        return _give(log, site, args.given_to)
    problems = list(log.problems)
    if args.against is not None:
        broken = read_checkpoint(_read(args.against)).broken_by(log)
        problems += [broken] if broken else []
    code = BROKEN if problems else INCOMPLETE if log.missing else 0
    if args.checkpoint:
        sys.stdout.write(head_of(log).write().decode())
        sys.stderr.writelines(f"{sentence}\n" for sentence in problems)
    elif args.json:
        shown = {"entries": log.entries, "problems": problems, "missing": log.missing, "head": log.head}
        _write(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        _show(log, site, problems)
    return code


def _give(log: "Log", site: Path, where: str) -> int:
    """Print the checkpoint and note that it was given away; of a log that does not hold nothing is given."""
    from chaosgpu.evidence.checkpoint import head_of  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.evidence.log import EvidenceLog  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.register import anchored  # noqa: PLC0415 (likewise)
    from chaosgpu.lease.ids import Names  # noqa: PLC0415 (likewise)

    if log.problems or not log.digests:
        raise BadArgument(f"Nothing was given away: {log.problems[0] if log.problems else 'the log is empty.'}")
    head = head_of(log)
    anchored(EvidenceLog(site, Names().now), head.size, head.head, where)
    sys.stdout.write(head.write().decode())
    return 0


def _show(log: "Log", site: Path, problems: list[str]) -> None:
    """Print a line an entry, and what is wrong."""
    for entry in log.entries:
        _write(_line(entry))
    for sentence in log.missing:
        _write(f"MISSING   {sentence}")
    for sentence in problems:
        _write(f"PROBLEM   {sentence}")
    given = [entry for entry in log.entries if entry["type"] == "anchored"]
    newer = [
        entry for entry in log.entries[int(str(given[-1]["size"])) if given else 0 :] if entry["type"] == "started"
    ]
    if newer:
        _write(f"exposed   {len(newer)} starts are newer than the last checkpoint that was given away: --given-to")
    said = "THE LOG DOES NOT HOLD" if problems else "the log holds"
    _write(f"log       {len(log.digests)} entries in {site}, {said}")


def _line(entry: "JsonObject") -> str:
    """Return one entry as a line."""
    of = " ".join(str(entry[name]) for name in ("drill", "attempt") if entry[name])
    more = ", ".join(f"{name} {entry[name]}" for name in _SHOWN if entry.get(name))
    return f"{entry['seq']:>4}  {entry['at']}  {entry['type']:<13} {of}{': ' if more and of else ''}{more}"


def _read(path: Path) -> bytes:
    """Read a file that the user named."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadArgument(f"{path} could not be read: {error.strerror}.") from error


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
