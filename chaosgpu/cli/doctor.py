# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu doctor`: what works on a host and what does not, as its agent sees it."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosgpu.cli.fleet import add_options, ask_meant

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["add_parser", "run"]

# In the order in which a person asks, with what each group answers. What an older agent does not group comes last.
_GROUPS = (
    ("residue", "What is left behind here"),
    ("undo", "What would hold the undo"),
    ("host", "The host"),
    ("gpus", "The GPUs"),
    ("faults", "The faults it can take"),
    ("remediation", "What acts by itself here"),
    ("", "More"),
)
_WORST = {False: 0, None: 1, True: 2}


@dataclass(frozen=True)
class _Check:
    name: str
    ok: bool | None
    detail: str
    group: str
    by_hand: str


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "doctor",
        help="check what works on this host: driver, policy, undo, each fault, residue, remediation agents",
        description="Print the checks of each host's agent, the worst first. Nothing is changed.",
        epilog="Exit code: 0 nothing fails, 1 something fails or a host gave no answer, 2 the only one gave none.",
    )
    parser.add_argument("--json", action="store_true", help="print the agent's answer as JSON")
    add_options(parser)
    parser.add_argument("--timeout-s", type=float, default=60.0, metavar="SECONDS", help="for the answer (default: 60)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask each agent for its checks and print them as tables."""
    from chaosgpu.errors import ChaosGpuError  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.values import objects  # noqa: PLC0415 (likewise)

    answers = ask_meant(args, "doctor", {})
    failed = {host: answer for host, answer in answers.items() if isinstance(answer, ChaosGpuError)}
    if len(answers) == 1 and failed:
        raise next(iter(failed.values()))
    asked = {host: answer for host, answer in answers.items() if not isinstance(answer, ChaosGpuError)}
    if args.json:
        told = asked | {host: {"error": str(why)} for host, why in failed.items()}
        shown = next(iter(told.values())) if len(told) == 1 else told
        sys.stdout.write(json.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    wrong = bool(failed)
    for host, answer in asked.items():
        found = objects(answer, "checks")
        wrong |= any(check.get("ok") is False for check in found)
        if not args.json:
            _write(str(answer.get("host", host)), [_check(check) for check in found])
    for host, why in {} if args.json else failed.items():
        sys.stdout.write(f"{host} could not be asked: {why}\n")
    return 1 if wrong else 0


def _check(check: "JsonObject") -> _Check:
    ok = check.get("ok")
    return _Check(
        str(check.get("name")),
        ok if isinstance(ok, bool) else None,
        str(check.get("detail", "")),
        str(check.get("group", "")),
        str(check.get("by_hand", "")),
    )


def _write(host: str, checks: Sequence[_Check]) -> None:
    """Print one line on the whole, then a table a group: the group with the worst check first, and so inside it."""
    from rich.console import Console  # noqa: PLC0415 (other subcommands need none of it)
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    fails, asks = (sum(check.ok is state for check in checks) for state in (False, None))
    console.print(f"[bold]{escape(host)}[/]: {fails} fail, {asks} to look at, {len(checks) - fails - asks} are well")
    known = {name for name, _ in _GROUPS}
    groups = [
        (title, sorted((one for one in checks if _group(one, known) == name), key=lambda one: _WORST[one.ok]))
        for name, title in _GROUPS
    ]
    for title, rows in sorted((pair for pair in groups if pair[1]), key=lambda pair: _WORST[pair[1][0].ok]):
        table = Table(title=title, title_justify="left", title_style="bold", show_header=False, show_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", min_width=18, max_width=46)
        table.add_column(overflow="fold")
        for row in _together(rows):
            hand = f"\n[cyan]by hand: {escape(row.by_hand)}[/]" if row.by_hand else ""
            table.add_row(_mark(row.ok), escape(row.name), escape(row.detail) + hand)
        console.print()
        console.print(table)


def _together(rows: Sequence[_Check]) -> list[_Check]:
    """Show those that say the same as one row."""
    names: dict[tuple[bool | None, str, str], list[str]] = {}
    for row in rows:
        names.setdefault((row.ok, row.detail, row.by_hand), []).append(row.name)
    return [_Check("\n".join(found), ok, said, "", by_hand) for (ok, said, by_hand), found in names.items()]


def _group(check: _Check, known: set[str]) -> str:
    return check.group if check.group in known else ""


def _mark(ok: bool | None) -> str:
    if ok is None:
        return "[yellow]unknown[/]"
    return "[green]ok[/]" if ok else "[red]FAILS[/]"
