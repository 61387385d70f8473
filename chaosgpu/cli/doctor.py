# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu doctor`: what works on this host and what does not, as the agent sees it."""

import argparse
import json
import sys

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "doctor",
        help="check what works on this host: driver, policy, state folder, each fault",
        description="Print the checks of this host's agent. Nothing is changed.",
        epilog="Exit code: 0 nothing fails, 1 something fails, 2 the agent could not be asked.",
    )
    parser.add_argument("--json", action="store_true", help="print the agent's answer as JSON")
    parser.add_argument("--timeout-s", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask the agent for its checks and print them as a table."""
    from chaosgpu.fleet.ask import ask  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.targets import LOCAL  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.values import objects  # noqa: PLC0415 (other subcommands need none of it)

    answer = ask(LOCAL, "doctor", {}, args.timeout_s)
    checks = objects(answer, "checks")
    if args.json:
        sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    else:
        _write_table([(str(check.get("name")), check.get("ok"), str(check.get("detail", ""))) for check in checks])
    return 1 if any(check.get("ok") is False for check in checks) else 0


def _write_table(checks: "list[tuple[str, object, str]]") -> None:
    """Print one row a check; what could not be found out is neither good nor bad."""
    from rich.console import Console  # noqa: PLC0415 (other subcommands need none of it)
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("check", "", "detail"):
        table.add_column(heading, overflow="fold")
    for name, ok, detail in checks:
        table.add_row(escape(name), _mark(ok), escape(detail))
    Console().print(table)


def _mark(ok: object) -> str:
    if ok is None:
        return "[yellow]unknown[/]"
    return "[green]ok[/]" if ok is True else "[red]FAILS[/]"
