# SPDX-License-Identifier: Apache-2.0
"""The test hosts as a user's inventory for Ansible: an operator's login, his key, one line in sudoers."""

from pathlib import Path

from bench import ssh
from bench.hosts import Bench

__all__ = ["GROUP", "write_inventory"]

GROUP = "gpu_nodes"
# A connection that Ansible shares between its runs ends soon after the test.
_VARIABLES = """\
ansible_user={user}
ansible_ssh_common_args=-F {config}
ansible_ssh_args=-C -o ControlMaster=auto -o ControlPersist=5s
ansible_control_path_dir={sockets}
"""


def write_inventory(bench: Bench, folder: Path, *, user: str = "ops") -> Path:
    """Write it into a folder; every host is in the group `gpu_nodes`."""
    names = "\n".join(host.name for host in bench.hosts)
    variables = _VARIABLES.format(user=user, config=ssh.config(bench.plan), sockets=bench.plan.sockets)
    path = folder / "hosts.ini"
    path.write_text(f"[{GROUP}]\n{names}\n\n[{GROUP}:vars]\n{variables}")
    return path
