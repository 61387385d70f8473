# SPDX-License-Identifier: Apache-2.0
"""What an experiment may do to a host's units. docs/faults.md has what each changes, refuses and how well it is undone.

Every action puts one fault in, sees it verified on the host, and returns {"host", "lease", "fault", "observed",
"expires_in_s"}. It is undone by the rollback chaosgpu.lease.actions.undo_all, by chaosgpu.lease.actions.undo with its
lease, and else by the host itself 10 s after `duration_s`.

`unit` is the whole name of a service; an alias will do. `duration_s`: how long, in seconds. `back_within_s`: 1 to 600,
how long the service may take to be up again at the undo. `hosts`: where, "localhost". `timeout_s`: how long the host
may take to put it in and verify it. All need root and systemd.

Every action raises BadArgument (a value is wrong; nothing was touched), Refused (the host's policy, a claim, or the
unit's state said no; nothing was changed), NoGuard (the guard control is not active), FaultUnverified (it was put in
and not seen, and undone at once), AgentFailed or Unreachable.
"""

from chaosgpu.fleet.arguments import flag, one_of
from chaosgpu.fleet.values import JsonObject
from chaosgpu.host.arguments import back_within, put_in, unit_name

__all__ = ["deny_gpu_to_unit", "freeze_unit", "hide_gpu_from_unit", "kill_unit", "stop_unit"]


def stop_unit(
    unit: str, duration_s: float, back_within_s: float = 30, hosts: str = "localhost", timeout_s: float = 60.0
) -> JsonObject:
    """Stop a service; the undo starts it and waits until it is up.

    {"name": "Triton is down", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "stop_unit", "arguments": {"unit": "triton.service", "duration_s": 30}}}

    Refused where other active units would go down with it, or where an active socket or timer would start it again.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    return put_in("unit.stop", params, duration_s, hosts, timeout_s)


def kill_unit(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    signal: str = "KILL",
    back_within_s: float = 30,
    hosts: str = "localhost",
    timeout_s: float = 60.0,
) -> JsonObject:
    """Send a signal to every process of a service; it comes back by its own Restart=, or by the undo.

    {"name": "Triton crashes", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "kill_unit", "arguments": {"unit": "triton.service", "duration_s": 30}}}

    signal: "KILL", "TERM", "INT", "QUIT", "ABRT" or "SEGV". After TERM and INT Restart=on-failure does not act.
    `observed` tells which Restart= the unit has and how often systemd has restarted it.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    params["signal"] = one_of("signal", signal, ("KILL", "TERM", "INT", "QUIT", "ABRT", "SEGV"))
    return put_in("unit.kill", params, duration_s, hosts, timeout_s)


def freeze_unit(unit: str, duration_s: float, hosts: str = "localhost", timeout_s: float = 30.0) -> JsonObject:
    """Freeze every process of a service: it hangs, and its ports go on accepting connections.

    {"name": "Triton hangs", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "freeze_unit", "arguments": {"unit": "triton.service", "duration_s": 30}}}

    Refused for a service with WatchdogSec=, which systemd would kill for it, and without cgroup v2.
    """
    return put_in("unit.freeze", {"unit": unit_name(unit)}, duration_s, hosts, timeout_s)


def deny_gpu_to_unit(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    gpu: str | None = None,
    back_within_s: float = 30,
    hosts: str = "localhost",
    timeout_s: float = 60.0,
    allow_index: bool = False,
) -> JsonObject:
    """Let one service open NVIDIA's device nodes no more, as after a lost device rule; others still can.

    {"name": "Triton loses its devices", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.host.actions", "func": "deny_gpu_to_unit",
     "arguments": {"unit": "triton.service", "duration_s": 60}}}

    gpu: the UUID or PCI bus id of one GPU, an index only with `allow_index`: its node alone is denied. Without it all
    of /dev/nvidia* are. What the service has open already keeps working.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    flag("allow_index", allow_index)
    if gpu is not None:
        params.update({"gpu": gpu, "allow_index": allow_index})
    return put_in("unit.gpu.deny", params, duration_s, hosts, timeout_s)


def hide_gpu_from_unit(
    unit: str, duration_s: float, back_within_s: float = 30, hosts: str = "localhost", timeout_s: float = 60.0
) -> JsonObject:
    """Restart a service with CUDA_VISIBLE_DEVICES=-1: it comes up without its GPUs, or not at all.

    {"name": "Triton without GPU", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "hide_gpu_from_unit", "arguments": {"unit": "triton.service", "duration_s": 60}}}

    NVIDIA_VISIBLE_DEVICES=void is set, too, for a unit that hands its environment to a container.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    return put_in("unit.gpu.hide", params, duration_s, hosts, timeout_s)
