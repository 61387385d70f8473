# SPDX-License-Identifier: Apache-2.0
"""The `chaosgpu` command: each subcommand is one file beside this one, with `add_parser` and `run`."""

import argparse
import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence

import logzero

from chaosgpu import __version__
from chaosgpu.errors import ChaosGpuError

__all__ = ["main"]

# One line a subcommand: modules of this package, in the order of `--help`. One that is not installed is left out.
_SUBCOMMANDS: tuple[str, ...] = (
    "lab", "sim", "catalogue", "lint", "job", "drill", "runs", "evidence", "leases", "halt", "resume", "recover",
    "doctor", "drift", "self_drill", "agent", "playbooks",
)  # fmt: skip

USAGE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code; an error is one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="chaosgpu", description="Break GPU racks on purpose, prove it, put them back."
    )
    parser.add_argument("--version", action="version", version=f"chaosgpu {__version__}")
    parser.add_argument("--log-file", metavar="FILE", help="write messages to this file too, with their time")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    for name in _needed(argv):
        if importlib.util.find_spec(f"chaosgpu.cli.{name}"):
            module = importlib.import_module(f"chaosgpu.cli.{name}")
            module.add_parser(subparsers).set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        logger = _logger(args.log_file)
    except OSError as error:
        sys.stderr.write(f"The log file {args.log_file} could not be opened: {error.strerror}. Name another one.\n")
        return USAGE
    try:
        return int(args.run(args))
    except ChaosGpuError as error:
        logger.error("%s", error)  # noqa: TRY400 (the sentence is the message, a traceback would hide it)
        return USAGE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _needed(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the one subcommand that is named first, which needs none of the others; else all of them, for help."""
    first = "".join(argv[:1]).replace("-", "_")
    return (first,) if first in _SUBCOMMANDS else _SUBCOMMANDS


def _logger(log_file: str | None) -> logging.Logger:
    """Set up the logger `chaosgpu`: bare sentences on standard error, and with time and level in the file."""
    for old in logging.getLogger("chaosgpu").handlers[:]:  # of an earlier call: its standard error may be another one
        if hasattr(old, logzero.LOGZERO_INTERNAL_LOGGER_ATTR):
            logging.getLogger("chaosgpu").removeHandler(old)
            old.close()
    plain = logging.Formatter("%(message)s")
    logzero.setup_logger(name="chaosgpu", level=logging.INFO, formatter=plain, logfile=log_file)  # type: ignore[no-untyped-call]  # logzero has no types
    logger = logging.getLogger("chaosgpu")
    dated = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.setFormatter(dated)
    return logger
