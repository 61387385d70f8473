# SPDX-License-Identifier: Apache-2.0
"""`--inventory` and `--limit`: the hosts that a subcommand is for, as `ansible-playbook` takes them."""

import argparse

__all__ = ["add_options", "hosts_meant"]


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
    from chaosgpu.errors import BadArgument  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.fleet.ask import use_inventory  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.inventory import named_inventory  # noqa: PLC0415 (likewise)
    from chaosgpu.fleet.targets import known_hosts  # noqa: PLC0415 (likewise)

    if args.limit and not args.inventory:
        raise BadArgument("--limit is of an inventory: name it with --inventory.")
    named = named_inventory({"chaosgpu_inventory": args.inventory, "chaosgpu_limit": args.limit})
    if named is not None:
        use_inventory(named)
    return known_hosts()
