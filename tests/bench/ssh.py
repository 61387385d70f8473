# SPDX-License-Identifier: Apache-2.0
"""Reaching the hosts: keys of the bench's own, one open connection a host, and commands over it."""

import subprocess
from pathlib import Path

from bench import groups
from bench.plan import BenchFailed, BenchPlan, HostPlan

__all__ = ["config", "make_keys", "words", "write_config"]

_OPTIONS = """\
  UserKnownHostsFile {known}
  StrictHostKeyChecking yes
  BatchMode yes
  LogLevel ERROR
  ConnectTimeout 2
  ServerAliveInterval 1
  ServerAliveCountMax 3
  ControlPath {sockets}/%n.%r
"""


def config(plan: BenchPlan) -> Path:
    """Return the file that makes any ssh, and Ansible, find the hosts from inside the bench's network."""
    return plan.path("ssh_config")


def make_keys(plan: BenchPlan) -> None:
    """Make one key for the controller and one for each host."""
    key_files = [plan.path("key"), *(host.path("host_key") for host in plan.hosts)]
    makers = [
        subprocess.Popen(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path)],
            preexec_fn=groups.enter(f"{plan.identity}/controller"),  # noqa: PLW1509 (a write, before threads)
        )
        for path in key_files
    ]
    if any(maker.wait(20) != 0 for maker in makers):
        raise BenchFailed(f"ssh-keygen could not make the bench's keys in {plan.directory}.")


def write_config(plan: BenchPlan) -> None:
    """Write ssh_config and known_hosts."""
    known = plan.path("known_hosts")
    known.write_text("".join(f"{host.address} {host.path('host_key.pub').read_text()}" for host in plan.hosts))
    options = _OPTIONS.format(known=known, sockets=plan.sockets)
    entries = (
        f"Host {host.name}\n  HostName {host.address}\n  User root\n  IdentityFile {plan.path('key')}\n"
        f"  IdentitiesOnly yes\n{options}"
        for host in plan.hosts
    )
    config(plan).write_text("".join(entries))
    plan.sockets.mkdir(parents=True, mode=0o700)


def words(plan: BenchPlan, host: HostPlan, user: str, *options: str) -> list[str]:
    """Return ssh's command line up to the remote command."""
    return ["ssh", "-F", str(config(plan)), *options, f"{user}@{host.name}"]
