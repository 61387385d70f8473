# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu playbooks`: print the folder in which our Ansible playbooks lie."""

import argparse
import sys

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand."""
    return subparsers.add_parser(
        "playbooks",
        help="print the folder of the Ansible playbooks: provision, snapshot, pin, verify, rollback",
        description="Print the folder of the Ansible playbooks; docs/playbooks.md says what each does.",
        epilog="Exit code: 0 printed, 2 they are not installed.",
    )


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 (the form of a subcommand)
    """Print it."""
    from chaosgpu.fleet.playbooks import playbooks_folder  # noqa: PLC0415 (other subcommands need none of it)

    sys.stdout.write(f"{playbooks_folder()}\n")
    return 0
