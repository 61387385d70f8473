# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu lab`: a real Triton server, GPUs and traffic on this machine, for as long as a drill needs them."""

import argparse
import shlex
import signal
import sys
from pathlib import Path

from chaosgpu.errors import LabFailed

__all__ = ["add_parser", "run"]

_DIRECTORY = Path(".chaosgpu/lab")
_DATABASE = Path(".chaosgpu/database")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `lab` and its verbs."""
    parser = subparsers.add_parser("lab", help="a real Triton server on simulated GPUs, on this machine")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("install", help="install the lab's Triton server (`up` does it when it is missing)")
    database = verbs.add_parser("database", help="run a real vector database for as long as a command runs")
    database.add_argument("name", choices=("chroma", "milvus", "pgvector"))
    database.add_argument("--directory", type=Path, default=_DATABASE, help=f"its folder (default {_DATABASE})")
    database.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    for verb, what in (
        ("up", "bring the lab up"),
        ("down", "take the lab down"),
        ("status", "say whether the lab is up, and where"),
        ("env", 'print its environment: eval "$(chaosgpu lab env)"'),
        ("run", "bring the lab up, run a command in it, take the lab down"),
    ):
        one = verbs.add_parser(verb, help=what)
        one.add_argument("--directory", type=Path, default=_DIRECTORY, help=f"the lab's folder (default {_DIRECTORY})")
        if verb in ("up", "run"):
            _add_options(one)
        if verb == "run":
            one.add_argument("command", nargs="+", metavar="COMMAND", help="after --")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", choices=("fragile", "hardened"), default="fragile")
    parser.add_argument("--profile", default="h100", help="the simulated GPU (default h100)")
    parser.add_argument("--gpus", type=int, default=1, help="how many of them (default 1)")
    parser.add_argument("--real-gpu", action="store_true", help="use the machine's own GPU (no faults on it)")
    parser.add_argument("--minutes", type=float, default=30.0, help="the lab ends by itself after this (default 30)")
    parser.add_argument("--pipeline", action="store_true", help="embedding, vector database, generator and a gateway")
    parser.add_argument("--alerts", action="store_true", help="a real Prometheus, Alertmanager and a pager")
    parser.add_argument("--gpu-work", action="store_true", help="the model also computes on the GPU: clocks matter")
    parser.add_argument("--no-traffic", action="store_true", help="no background requests")


def _say(line: str) -> None:
    sys.stderr.write(f"lab: {line}\n")
    sys.stderr.flush()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def run(args: argparse.Namespace) -> int:
    """Run one verb."""
    from chaosgpu.lab import install, prepare, up  # noqa: PLC0415 (other subcommands start without it)
    from chaosgpu.lab.run import run_in_lab  # noqa: PLC0415

    for signum in (signal.SIGTERM, signal.SIGHUP):  # while a lab comes up these end it as Ctrl-C does
        signal.signal(signum, _interrupted)
    if args.verb == "database":
        from chaosgpu.lab.run_database import run_with_database  # noqa: PLC0415

        return run_with_database(args.name, args.directory, args.command, _say)
    if args.verb == "install":
        sys.stdout.write(f"{install.install(_say).server}\n")
        return 0
    if args.verb in ("up", "run"):
        options = prepare.LabOptions(
            directory=args.directory,
            variant=args.variant,
            profile=args.profile,
            gpus=args.gpus,
            real_gpu=args.real_gpu,
            lifetime_s=_lifetime_s(args.minutes),
            traffic=not args.no_traffic,
            pipeline=args.pipeline,
            alerts=args.alerts,
            gpu_work=args.gpu_work,
        )
        if args.verb == "run":
            return run_in_lab(options, args.command, _say)
        up.bring_up(options, _say)
        _say('up; for its environment: eval "$(chaosgpu lab env)"; to end it: chaosgpu lab down')
        return 0
    if args.verb == "down":
        _say("the lab is down" if up.take_down(args.directory) else "no lab was up")
        return 0
    return _show(args.directory, environment=args.verb == "env")


def _lifetime_s(minutes: float) -> float:
    longest = 24 * 60.0
    if not 0 < minutes <= longest:
        raise LabFailed(f"--minutes must be above 0 and at most {longest:g}, not {minutes:g}.")
    return minutes * 60


def _show(directory: Path, *, environment: bool) -> int:
    from chaosgpu.lab import up  # noqa: PLC0415
    from chaosgpu.lab.plan import LabPlan  # noqa: PLC0415

    plan = LabPlan.read(directory)
    if plan is None or not up.running(directory):
        _say(f"no lab is up in {directory}; bring one up with: chaosgpu lab up")
        return 1
    if environment:
        for name, value in plan.exported.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        return 0
    sys.stdout.write(f"up: the {plan.variant} service at {plan.url} on {plan.gpu}\n")
    sys.stdout.write(f"logs and traffic series in {plan.directory}\n")
    return 0
