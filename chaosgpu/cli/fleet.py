# SPDX-License-Identifier: Apache-2.0
"""`--inventory` and `--limit`: the hosts that a subcommand is for, as `ansible-playbook` takes them."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaosgpu.errors import ChaosGpuError
    from chaosgpu.fleet.values import JsonObject

__all__ = ["add_options", "ask_meant", "hosts_meant", "use_named"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare both options."""
    parser.add_argument(
        "--inventory",
        action="append",
        metavar="FILE",
        help="an Ansible inventory: every host of it is meant (may be given again; default: this host)",
    )
    parser.add_argument("--limit", metavar="PATTERN", help="only these hosts of the inventory, an Ansible pattern")


def hosts_meant(args: argparse.Namespace) -> tuple[str, ...]:
    """Use the inventory that is named and return its hosts within the limit; else this host."""
    from chaosgpu.fleet.targets import known_hosts  # noqa: PLC0415 (other subcommands need none of it)

    use_named(args)
    return known_hosts()


def ask_meant(args: argparse.Namespace, verb: str, request: "JsonObject") -> "dict[str, JsonObject | ChaosGpuError]":
    """Ask every host that is meant, for something that changes nothing, and return what each said."""
    from chaosgpu.fleet.ask import ask_everyone  # noqa: PLC0415 (other subcommands need none of it)

    use_named(args)
    return ask_everyone(verb, request, args.timeout_s)


def use_named(args: argparse.Namespace) -> None:
    """Use the inventory that is named, where one is."""
    from chaosgpu.errors import BadArgument  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.ask import use_inventory  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.inventory import named_inventory  # noqa: PLC0415 (likewise)

    if args.limit and not args.inventory:
        raise BadArgument("--limit is of an inventory: name it with --inventory.")
    named = named_inventory({"chaosgpu_inventory": args.inventory, "chaosgpu_limit": args.limit})
    if named is not None:
        use_inventory(named)
