# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu job`: play one experiment as a job of AWX, a scheduler or CI, and print what came of it as one object."""

import argparse
import sys
from pathlib import Path

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "job",
        help="play one experiment as a job and print its verdict, hosts and digests as one JSON object",
        description="Run `chaos run` on an experiment, without what an outer job of AWX or ansible-runner has put into "
        "the environment, and print one JSON object on standard output; what the run says goes to standard error. A "
        "signal stops the run in order.",
        epilog="Exit code: that of the verdict (docs/verdicts.md), 2 what could not be started, 1 a run without "
        "the guard that did not go well.",
    )
    parser.add_argument("experiment", type=Path, metavar="FILE", help="an experiment in JSON or YAML")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key that the experiment's configuration declares (again for several); VALUE is JSON, or a text",
    )
    parser.add_argument("--dry", choices=("actions", "activities", "probes", "pause"), help="as of `chaos run`")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="where the record goes ($CHAOSGPU_RUNS)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Play it and print the object."""
    import json  # noqa: PLC0415 (other subcommands need none of it)

    from chaosgpu.cli.play_job import play_job  # noqa: PLC0415 (likewise)

    found, code = play_job(args.experiment, args.set, args.dry, args.runs)
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    return code
