# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu sim`: run a command on simulated GPUs, or make some, look at them, change them and take them away."""

import argparse

from chaosgpu.sim import profile

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its verbs."""
    parser: argparse.ArgumentParser = subparsers.add_parser("sim", help="simulated GPUs behind NVIDIA's library names")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    running = verbs.add_parser("run", help="run a command on simulated GPUs that are gone when it ends")
    _product_arguments(running)
    running.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    creating = verbs.add_parser("create", help="make simulated GPUs that stay, and print their environment")
    creating.add_argument("name", help="what to call them")
    _product_arguments(creating)
    _named(verbs.add_parser("env", help="print the environment of simulated GPUs"))
    showing = _named(verbs.add_parser("show", help="print simulated GPUs"))
    showing.add_argument("--json", action="store_true", help="everything, as JSON")
    setting = _named(verbs.add_parser("set", help="change simulated GPUs: FIELD=VALUE as `show --json` names them"))
    setting.add_argument("--gpu", type=int, default=-1, help="which one; without it, the machine")
    setting.add_argument("fields", nargs="+", metavar="FIELD=VALUE")
    injecting = _named(verbs.add_parser("inject", help="make something go wrong: xid xid=79, lost, hang hang_s=5"))
    injecting.add_argument("--gpu", type=int, default=-1, help="which one; without it, the machine")
    injecting.add_argument("what")
    injecting.add_argument("options", nargs="*", metavar="OPTION=VALUE")
    removing = verbs.add_parser("remove", help="take simulated GPUs away")
    removing.add_argument("name")
    return parser


def run(args: argparse.Namespace) -> int:
    """Carry out one verb."""
    from chaosgpu.cli.play_sim import VERBS  # noqa: PLC0415 (other subcommands need none of it)

    return VERBS[args.verb](args)


def _product_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="h100", help=f"the product: {', '.join(profile.names())}")
    parser.add_argument("--gpus", type=int, default=1, help="how many, up to 16")
    parser.add_argument("--seed", type=int, help="the same UUIDs and serial numbers each time")
    parser.add_argument("--device-nodes", action="store_true", help="with device nodes that every client opens")
    parser.add_argument("--without", action="append", default=[], metavar="FUNCTION", help="a driver too old for it")


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--name", help="which set of GPUs; without it, the one in CHAOSGPU_SIM_STATE")
    return parser
