# SPDX-License-Identifier: Apache-2.0
"""What an experiment may do to hosts through Ansible: play a playbook, pin and roll back packages, take out of service.

docs/lifecycle.md says what each does. `hosts`: where, "localhost" or an Ansible pattern over the inventory; the hosts
count in the run's blast radius. `timeout_s`: seconds for all hosts together. What an action has done is put back by the
rollback chaosgpu.lease.actions.undo_all, from the record also after a kill (`chaosgpu recover`).

Every action returns {"playbook", "hosts": {HOST: {"how", "changed", "said"}}} where it went well on each host, and else
raises PlaybookFailed, Unreachable or Refused (nothing was done) with a sentence for each host; BadArgument (nothing was
touched) and NoGuard (the guard control is not active).
"""

from typing import Any

__all__ = ["drain", "pin", "quarantine", "return_to_service", "rollback", "run_playbook"]


def run_playbook(  # noqa: PLR0917 (an experiment names them all)
    playbook: str,
    hosts: str = "localhost",
    variables: dict[str, Any] | None = None,
    undo_playbook: str | None = None,
    no_undo: bool = False,
    check: bool = False,
    timeout_s: float = 600.0,
    configuration: dict[str, Any] | None = None,  # noqa: ARG001 (as every activity of hosts)
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Play a playbook of your own on the chosen hosts, and on no other.

    {"name": "the proxy is restarted", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "run_playbook",
     "arguments": {"playbook": "playbooks/restart-proxy.yml", "hosts": "localhost",
                   "undo_playbook": "playbooks/proxy-as-it-was.yml", "timeout_s": 120}}}

    playbook: a file; what lies beside it is used. variables: as with -e, from a file that only we can read; `secrets`
    of the experiment are handed over the same way. undo_playbook: what puts it back, played on the same hosts with the
    same variables, also where the playbook failed halfway. Without one it is refused, unless check is true (it is
    played with --check, and changes nothing) or no_undo is: then it is played, and a run in which it changed something
    is inconclusive, since not everything was put back. A playbook may say more of a host by `set_stats` with
    `per_host`, under `chaosgpu`: {"ok", "said"}.
    """
    from chaosgpu.lifecycle.doing import played  # noqa: PLC0415 (validation imports every named module)

    return played(playbook, hosts, variables, undo_playbook, no_undo, check, timeout_s, secrets)


def pin(
    packages: dict[str, str],
    hosts: str = "localhost",
    within_s: int = 3600,
    timeout_s: float = 3600.0,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Bring packages to these versions and keep them there, by pin and hold, under a lease of each host.

    {"name": "the driver of the lock file", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "pin",
     "arguments": {"packages": {"nvidia-open": "580.95.05-1"}, "hosts": "localhost", "within_s": 3600}}}

    packages: each with its whole version. within_s: 60 to 86400; the host goes back by itself after so many seconds,
    whatever happens to the controller. A snapshot comes first, so that it can go back without a network.
    """
    from chaosgpu.lifecycle.doing import pinned  # noqa: PLC0415 (as above)

    return pinned(packages, within_s, hosts, timeout_s, configuration)


def rollback(
    hosts: str | None = None,
    allow_reboot: bool = False,
    timeout_s: float = 3600.0,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Bring back the packages of hosts that this run has pinned, and compare them with the snapshot.

    {"name": "the driver as it was", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "rollback", "arguments": {"allow_reboot": true}}}

    hosts: without it every host that this run has pinned. allow_reboot: whether a host may be rebooted where another
    kernel module is loaded than was before. A host without a pin of this run is left alone.
    """
    from chaosgpu.lifecycle.doing import rolled_back  # noqa: PLC0415 (as above)

    return rolled_back(hosts, allow_reboot, timeout_s, configuration)


def drain(  # noqa: PLR0917 (an experiment names them all)
    units: list[str] | None = None,
    containers: list[str] | None = None,
    slurm: dict[str, Any] | None = None,
    hook: list[str] | None = None,
    allow_processes: list[str] | None = None,
    reason: str | None = None,
    hosts: str = "localhost",
    timeout_s: float = 900.0,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Take hosts out of service: services, containers, the Slurm node, a command of your own.

    {"name": "no new requests", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "drain",
     "arguments": {"units": ["triton.service"], "reason": "drill 7", "hosts": "localhost"}}}

    All or nothing on each host; refused where a fault is in force there or somebody is on a GPU whom allow_processes
    does not name. slurm: {} for the node of the host's name, or {"node"}. hook: a command, its first word an absolute
    path.
    """
    from chaosgpu.lifecycle.doing import drained  # noqa: PLC0415 (as above)

    given = {
        "units": units, "containers": containers, "slurm": slurm, "hook": hook, "allow_processes": allow_processes,
    }  # fmt: skip
    wanted = {key: value for key, value in given.items() if value is not None}
    return drained(wanted, reason, hosts, timeout_s, configuration)


def return_to_service(
    hosts: str | None = None, timeout_s: float = 900.0, configuration: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Put hosts back into service that this run has drained: what the drain took, and only that.

    {"name": "back into service", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "return_to_service"}}

    hosts: without it every host that this run has drained. Refused by a host on which a fault is still in force.
    """
    from chaosgpu.lifecycle.doing import returned  # noqa: PLC0415 (as above)

    return returned(hosts, timeout_s, configuration)


def quarantine(
    reason: str, hosts: str = "localhost", timeout_s: float = 300.0, configuration: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Put hosts out of service until a named person releases them; every fault there is undone and new ones refused.

    {"name": "nobody uses this one", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.fleet.actions", "func": "quarantine",
     "arguments": {"reason": "answers differ from its neighbours'", "hosts": "localhost"}}}

    It has no undo, so the run is unsafe: the host is not as it was.
    """
    from chaosgpu.lifecycle.doing import quarantined  # noqa: PLC0415 (as above)

    return quarantined(reason, hosts, timeout_s, configuration)
