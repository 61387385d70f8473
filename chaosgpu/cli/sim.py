# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu sim`: run a command on simulated GPUs, or make some, look at them, change them and take them away."""

import argparse
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.sim import instance, profile
from chaosgpu.sim.document import Gpu
from chaosgpu.sim.instance import Instance
from chaosgpu.sim.running import run_command

__all__ = ["add_parser", "run"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STATE = "CHAOSGPU_SIM_STATE"
_COLUMNS = ("GPU", "UUID", "memory", "load", "power", "SM clock", "heat", "processes", "not as usual")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its verbs."""
    parser: argparse.ArgumentParser = subparsers.add_parser("sim", help="simulated GPUs behind NVIDIA's library names")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    running = verbs.add_parser("run", help="run a command on simulated GPUs that are gone when it ends")
    _product_arguments(running)
    running.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    running.set_defaults(do=_run)
    creating = verbs.add_parser("create", help="make simulated GPUs that stay, and print their environment")
    creating.add_argument("name", help="what to call them")
    _product_arguments(creating)
    creating.set_defaults(do=_create)
    _named(verbs.add_parser("env", help="print the environment of simulated GPUs"), _env)
    showing = _named(verbs.add_parser("show", help="print simulated GPUs"), _show)
    showing.add_argument("--json", action="store_true", help="everything, as JSON")
    setting = _named(
        verbs.add_parser("set", help="change simulated GPUs: FIELD=VALUE as `show --json` names them"), _set
    )
    setting.add_argument("--gpu", type=int, default=-1, help="which one; without it, the machine")
    setting.add_argument("fields", nargs="+", metavar="FIELD=VALUE")
    injecting = _named(
        verbs.add_parser("inject", help="make something go wrong: xid xid=79, lost, hang hang_s=5"), _inject
    )
    injecting.add_argument("--gpu", type=int, default=-1, help="which one; without it, the machine")
    injecting.add_argument("what")
    injecting.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    removing = verbs.add_parser("remove", help="take simulated GPUs away")
    removing.add_argument("name")
    removing.set_defaults(do=_remove)
    return parser


def run(args: argparse.Namespace) -> int:
    """Carry out one verb."""
    do: Callable[[argparse.Namespace], int] = args.do
    return do(args)


def _product_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="h100", help=f"the product: {', '.join(profile.names())}")
    parser.add_argument("--gpus", type=int, default=1, help="how many, up to 16")
    parser.add_argument("--seed", type=int, help="the same UUIDs and serial numbers each time")
    parser.add_argument("--device-nodes", action="store_true", help="with device nodes that every client opens")
    parser.add_argument("--without", action="append", default=[], metavar="FUNCTION", help="a driver too old for it")


def _named(parser: argparse.ArgumentParser, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    parser.add_argument("--name", help=f"which set of GPUs; without it, the one in {_STATE}")
    parser.set_defaults(do=do)
    return parser


def _make(directory: Path, args: argparse.Namespace) -> Instance:
    nodes = directory / "dev" if args.device_nodes else None
    return instance.create(
        directory, args.profile, args.gpus, seed=args.seed, device_nodes=nodes, missing_symbols=args.without
    )


def _run(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise BadArgument("There is no command to run; write it behind `--`, as in `chaosgpu sim run -- nvidia-smi`.")
    with tempfile.TemporaryDirectory(prefix="run-", dir=instance.scratch_directory()) as scratch:
        simulated = _make(Path(scratch), args)
        return run_command(command, {**os.environ, **simulated.environment()})


def _folder(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise BadArgument(f"{name!r} is no name for simulated GPUs; use letters, digits, dots, dashes and underscores.")
    return instance.default_directory() / name


def _opened(args: argparse.Namespace) -> Instance:
    if args.name is not None:
        return instance.open_state(_folder(args.name) / "gpus.state")
    state = os.environ.get(_STATE)
    if not state:
        raise BadArgument(f"Name the simulated GPUs with --name, or set {_STATE}; `chaosgpu sim create` makes some.")
    return instance.open_state(Path(state))


def _create(args: argparse.Namespace) -> int:
    folder = _folder(args.name)
    if (folder / "gpus.state").exists():
        raise LabFailed(
            f"There are simulated GPUs called {args.name} already; `chaosgpu sim remove {args.name}` first."
        )
    _print_environment(_make(folder, args))
    return 0


def _env(args: argparse.Namespace) -> int:
    _print_environment(_opened(args))
    return 0


def _print_environment(simulated: Instance) -> None:
    for name, value in simulated.environment().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _show(args: argparse.Namespace) -> int:
    document = _opened(args).document()
    if args.json:
        json.dump(document, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return 0
    system = document["system"]["identity"]
    title = f"{system['instance']}: {system['profile']}, driver {system['driver_version']}"
    table = Table(
        "GPU", "UUID", "memory", "load", "power", "SM clock", "heat", "processes", "not as usual", title=title
    )
    for index, gpu in enumerate(document["gpus"]):
        table.add_row(*_row(index, gpu))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _row(index: int, gpu: Gpu) -> tuple[str, ...]:
    identity, now, settings = gpu["identity"], gpu["readings"], gpu["settings"]
    pids = " ".join(str(process["pid"]) for process in gpu["processes"])
    return (
        f"{index} {identity['name']}",
        identity["uuid"],
        f"{now['used_mib']} of {identity['memory_total_mib']} MiB",
        f"{now['utilization_percent']:.0f} %",
        f"{now['power_mw'] / 1000:.0f} of {settings['power_limit_mw'] / 1000:.0f} W",
        f"{now['sm_mhz']} MHz",
        f"{now['temperature_celsius']:.0f} °C",
        pids,
        " ".join(_unusual(gpu)),
    )


def _unusual(gpu: Gpu) -> list[str]:
    """Name what an operator would want to know at a glance."""
    settings, faults = gpu["settings"], gpu["faults"]
    notes = [name for name in ("lost", "removed", "reset_required") if faults[name]]
    if settings["compute_mode"]:
        notes.append({2: "compute prohibited", 3: "compute exclusive"}.get(settings["compute_mode"], "compute mode"))
    if settings["sm_lock_max_mhz"]:
        notes.append(f"clocks locked {settings['sm_lock_min_mhz']}-{settings['sm_lock_max_mhz']}")
    if settings["power_limit_mw"] != gpu["identity"]["power_default_mw"]:
        notes.append("power capped")
    if not settings["persistence_mode"]:
        notes.append("persistence off")
    if settings["drain"]:
        notes.append("draining")
    return notes


def _pairs(words: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator:
            raise BadArgument(f"{word!r} is not of the form NAME=VALUE.")
        pairs[name] = value
    return pairs


def _set(args: argparse.Namespace) -> int:
    simulated = _opened(args)
    fields = _pairs(args.fields)
    if args.gpu < 0:
        simulated.set_system(**fields)
    else:
        simulated.set(args.gpu, **fields)
    return 0


def _inject(args: argparse.Namespace) -> int:
    options = {name: _number_or_text(value) for name, value in _pairs(args.options).items()}
    _opened(args).inject(args.what, args.gpu, **options)
    return 0


def _number_or_text(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _remove(args: argparse.Namespace) -> int:
    folder = _folder(args.name)
    if not (folder / "gpus.state").exists():
        raise LabFailed(f"There are no simulated GPUs called {args.name}.")
    shutil.rmtree(folder)
    return 0
