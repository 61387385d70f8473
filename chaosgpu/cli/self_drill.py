# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu self-drill`: the agent is killed on this host at many of its calls, with faults that harm nobody.

With `--triggers` the host's own agent is asked for harmless leases, and one trigger alone has to end each of them.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from chaosgpu.fleet.inventory import AGENT

__all__ = ["add_parser", "run"]

_INTERRUPTED = 130


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its arguments."""
    parser = subparsers.add_parser(
        "self-drill",
        help="kill the agent at many of its calls on this host, with harmless faults, and see what is left",
        description="Prove on this host that the agent leaves nothing behind. It works in a folder of its own: no GPU, "
        "no service and no lease of this host is touched, and no policy is needed. With --triggers prove instead, as "
        "root and with the agent that is installed here, that each trigger of this host alone undoes a lease; the "
        "host's policy must permit selfdrill.*.",
        epilog="Exit code: 0 nothing was left and every planned point was hit (with --triggers: each trigger alone "
        "undid its leases), 1 otherwise, 2 it could not be done.",
    )
    parser.add_argument("--points", type=int, default=60, metavar="N", help="how many points (default: 60)")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="M", help="begin none after this (default: 5)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="which points are drawn (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write the figures and every point to this file")
    parser.add_argument("--triggers", action="store_true", help="prove the triggers of this host instead, as root")
    parser.add_argument("--agent", default=AGENT, metavar="PATH", help=f"--triggers: the agent (default: {AGENT})")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="--triggers: leases a trigger (default: 5)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Strike or watch, print one table, and tell whether it holds."""
    return _triggers(args) if args.triggers else _strike(args)


def _triggers(args: argparse.Namespace) -> int:
    from chaosgpu.agent.errors import AgentError  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.agent.triggers.command import say  # noqa: PLC0415 (as above)
    from chaosgpu.agent.triggers.drill import drill, triggers_of  # noqa: PLC0415 (as above)
    from chaosgpu.agent.triggers.report import as_json, as_table  # noqa: PLC0415 (as above)
    from chaosgpu.agent.triggers.scene import scene_of  # noqa: PLC0415 (as above)
    from chaosgpu.errors import Refused  # noqa: PLC0415 (as above)

    try:
        scene = scene_of((args.agent,), os.environ)
        found = drill(scene, triggers_of(scene.systemd, args.repeat), say)
    except AgentError as error:
        raise Refused(str(error)) from error
    if args.json:
        Path(args.json).write_text(json.dumps(as_json(scene, found), indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(as_table(found))
    return 0 if found.holds else 1


def _strike(args: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415 (other subcommands need none of it)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from chaosgpu.errors import BadArgument  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.selfdrill import drill, report  # noqa: PLC0415

    if args.points < 1 or args.minutes <= 0:
        raise BadArgument(f"--points must be 1 or more and --minutes above 0, not {args.points} and {args.minutes:g}.")
    settings = drill.Settings(args.points, args.seed, args.minutes)
    console, begun_s = Console(stderr=True), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("looking for the agent's calls", total=args.points)

        def tell(planned: int, struck: drill.Struck | None) -> None:
            if struck is None:
                progress.update(task, description="striking", total=planned)
                return
            progress.advance(task)
            if struck.outcome.residue or not struck.outcome.hit:
                what = "LEFT" if struck.outcome.residue else "missed"
                progress.console.print(f"{what} {struck.point.key}: {'; '.join(struck.outcome.residue)}", markup=False)

        planned, struck = drill.run(settings, tell)
    found = report.Report(settings, planned, struck, time.monotonic() - begun_s)
    if args.json:
        Path(args.json).write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
    _write(found)
    return 0 if found.holds else 1


def _write(found: "report.Report") -> None:  # type: ignore[name-defined]  # noqa: F821 (imported when it is needed)
    from rich.console import Console  # noqa: PLC0415 (as above)
    from rich.table import Table  # noqa: PLC0415

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("figure", "value", "", "target", "holds"):
        table.add_column(heading)
    words = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}
    for figure in found.figures():
        table.add_row(figure.name, f"{figure.value:g}", figure.unit, figure.target, words[figure.holds])
    for phase, counts in found.by_phase():
        table.add_row(f"  in the phase {phase}", str(sum(counts)), "points", "", "")
    Console().print(table)
    verdict = "Nothing was left." if found.holds else "This host does not keep the promise: see above."
    sys.stdout.write(f"{verdict} {found.seconds:.0f} s.\n")
