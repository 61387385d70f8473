# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu lint FILE…`: find in experiments what `chaos validate` accepts and should not."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosgpu.lint.report import FileReport

__all__ = ["add_parser", "run"]

CLEAN, FINDINGS, UNREADABLE = 0, 1, 2


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "lint",
        help="find in experiments what 'chaos validate' accepts and should not",
        description="Find in experiments what 'chaos validate' accepts and should not. Nothing is run.",
        epilog="Exit code: 0 clean, 1 something was found, 2 a file could not be read.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="an experiment in JSON or YAML")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="import this package too, to check the arguments of its functions (may be given again)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser


def run(args: argparse.Namespace) -> int:
    """Lint each file, print what was found, and return the exit code."""
    from chaosgpu.lint.report import as_json, as_text  # noqa: PLC0415 (other subcommands need none of it)

    reports = [_one(path, frozenset(args.trust)) for path in args.files]
    sys.stdout.write(as_json(reports) if args.json else as_text(reports))
    if any(report.unreadable for report in reports):
        return UNREADABLE
    return FINDINGS if any(report.findings for report in reports) else CLEAN


def _one(path: Path, trust: frozenset[str]) -> "FileReport":
    from chaosgpu.lint import Unreadable, lint, read  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lint.functions import TRUSTED  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.lint.report import FileReport  # noqa: PLC0415 (other subcommands need none of it)

    try:
        return FileReport(str(path), tuple(lint(read(path, TRUSTED | trust))))
    except Unreadable as error:
        return FileReport(str(path), unreadable=str(error))
