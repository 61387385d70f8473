# SPDX-License-Identifier: Apache-2.0
"""The test hosts as a user's inventory for Ansible, in the shape of `inventory/example`: its groups, its variables.

Each test host takes the place of one host of the example, rack by rack in turn: two are in two racks, and with more
hosts than the example has, several share a place. An operator's login, his key, and one line in sudoers reach them.
"""

from pathlib import Path
from typing import Any

import yaml

from bench import ssh
from bench.plan import ROOT, BenchPlan

__all__ = ["EXAMPLE", "GROUP", "write_inventory"]

EXAMPLE = ROOT / "inventory" / "example"
GROUP = "gpu_hosts"
_FOLDER = "group_vars"


def write_inventory(plan: BenchPlan, folder: Path, *, user: str = "ops", **variables: object) -> Path:
    """Write it into a folder, with more variables for all hosts; return the file to name."""
    example = yaml.safe_load((EXAMPLE / "hosts.yml").read_text())
    groups = example["all"]["children"]
    places = _places(groups)
    taken: dict[str, list[str]] = {}
    for number, host in enumerate(plan.hosts):
        taken.setdefault(places[number % len(places)], []).append(host.name)
    for group in groups.values():
        if "hosts" in group:
            group["hosts"] = {name: None for place in group["hosts"] for name in taken.get(place, [])}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump(example, sort_keys=False))
    (folder / _FOLDER).mkdir(exist_ok=True)
    for source in sorted((EXAMPLE / _FOLDER).glob("*.yml")):
        found = yaml.safe_load(source.read_text())
        if source.stem == "all":
            found |= {"ansible_become": False, **_connection(plan, user), **variables}
        (folder / _FOLDER / source.name).write_text(yaml.safe_dump(found))
    return path


def _places(groups: dict[str, Any]) -> list[str]:
    """Return the hosts of the example, the first of each rack, then the second of each, and so on."""
    racks = [[*group["hosts"]] for name, group in groups.items() if name.startswith("rack")]
    most = max(map(len, racks))
    return [rack[at] for at in range(most) for rack in racks if at < len(rack)]


def _connection(plan: BenchPlan, user: str) -> dict[str, str]:
    """Return how they are reached. A connection that Ansible shares between its runs ends soon after the test."""
    return {
        "ansible_user": user,
        "ansible_ssh_common_args": f"-F {ssh.config(plan)}",
        "ansible_ssh_args": "-C -o ControlMaster=auto -o ControlPersist=20s",
        "ansible_control_path_dir": str(plan.sockets),
    }
