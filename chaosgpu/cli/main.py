# SPDX-License-Identifier: Apache-2.0
"""The `chaosgpu` command: each subcommand is one file beside this one, with `add_parser(subparsers)` and `run(args)`."""

import argparse
import importlib
import sys
from collections.abc import Sequence

import logzero

from chaosgpu import __version__
from chaosgpu.errors import ChaosGpuError

__all__ = ["main"]

# One line a subcommand: modules of this package, imported in this order for `--help`.
_SUBCOMMANDS: tuple[str, ...] = ("lab", "sim", "lint", "runs", "doctor", "agent")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code; an error is one sentence on standard error."""
    parser = argparse.ArgumentParser(
        prog="chaosgpu", description="Break GPU racks on purpose, prove it, put them back."
    )
    parser.add_argument("--version", action="version", version=f"chaosgpu {__version__}")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    for name in _SUBCOMMANDS:
        module = importlib.import_module(f"chaosgpu.cli.{name}")
        module.add_parser(subparsers).set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except ChaosGpuError as error:
        logzero.logger.error("%s", error)
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
