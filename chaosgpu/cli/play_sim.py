# SPDX-License-Identifier: Apache-2.0
"""What each verb of `chaosgpu sim` does."""

import argparse
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.sim import instance
from chaosgpu.sim.document import Gpu
from chaosgpu.sim.instance import Instance
from chaosgpu.sim.running import run_command

__all__ = ["VERBS"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_STATE = "CHAOSGPU_SIM_STATE"


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


VERBS = {
    "run": _run,
    "create": _create,
    "env": _env,
    "show": _show,
    "set": _set,
    "inject": _inject,
    "remove": _remove,
}
