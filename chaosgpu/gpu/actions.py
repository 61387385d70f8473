# SPDX-License-Identifier: Apache-2.0
"""What an experiment may do to GPUs. docs/faults.md has what each fault changes, refuses and how well it is undone.

Every action puts one fault in, sees it verified on the host, and returns {"host", "lease", "fault", "observed",
"expires_in_s"}. It is undone by the rollback chaosgpu.lease.actions.undo_all, by chaosgpu.lease.actions.undo with its
lease, and else by the host itself 10 s after `duration_s`.

`gpu` is a UUID or a PCI bus id; an index only with `allow_index`. `duration_s`: how long, in seconds. `hosts`: where,
"localhost". `timeout_s`: how long the host may take to put it in and verify it.

Every action raises BadArgument (a value is wrong; nothing was touched), Refused (the host's policy, a claim, the GPU's
product or state said no; nothing was changed), NoGuard (the guard control is not active), FaultUnverified (it was put
in and not seen, and undone at once), AgentFailed (the driver answered with an error) or Unreachable.
"""

from chaosgpu.fleet.values import JsonObject
from chaosgpu.gpu import arguments as check
from chaosgpu.gpu.arguments import put_in

__all__ = [
    "burn",
    "cap_power",
    "disable_persistence",
    "fill_memory",
    "kill_processes",
    "leak_memory",
    "lock_clocks",
    "set_compute_mode",
    "stop_processes",
]


def fill_memory(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    duration_s: float,
    used_percent: float | None = None,
    leave_free_mib: int | None = None,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Fill the GPU's memory to a level and hold it there, also when others free theirs.

    {"name": "fill to 92 percent", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "fill_memory", "arguments": {"gpu": "GPU-5c0ffee0-…", "used_percent": 92, "duration_s": 120}}}

    used_percent: over 0 and at most 100, of the GPU's whole memory, whoever holds it. leave_free_mib: instead of it,
    MiB that stay free. Refused where the GPU is as full already. Model servers commonly run out between 90 and 95
    percent (vLLM takes 90 by default).
    """
    check.only_one(used_percent=used_percent, leave_free_mib=leave_free_mib)
    params = check.gpu_params(gpu, allow_index)
    if leave_free_mib is None:
        params["used_percent"] = check.number("used_percent", used_percent, over=0, most=100)
    else:
        params["leave_free_mib"] = check.whole("leave_free_mib", leave_free_mib, least=0)
    return put_in("gpu.memory.fill", params, duration_s, hosts, timeout_s)


def leak_memory(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    rate_mib_s: float,
    duration_s: float,
    leave_free_percent: float = 2,
    ceiling_mib: int | None = None,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Leak GPU memory at a constant rate until only so much is free, then hold that; it never gives back.

    {"name": "leak 400 MiB a second", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "leak_memory", "arguments": {"gpu": "GPU-5c0ffee0-…", "rate_mib_s": 400, "duration_s": 60}}}

    rate_mib_s: at least 0.5 (memory grows in steps of 2 MiB, a slower leak could not be verified in good time).
    leave_free_percent: 0 to 100 of the GPU's whole memory. ceiling_mib: the leak holds no more than that.
    """
    params = check.gpu_params(gpu, allow_index)
    params["rate_mib_s"] = check.number("rate_mib_s", rate_mib_s, least=0.5)
    params["leave_free_percent"] = check.number("leave_free_percent", leave_free_percent, least=0, most=100)
    if ceiling_mib is not None:
        params["ceiling_mib"] = check.whole("ceiling_mib", ceiling_mib, least=2)
    return put_in("gpu.memory.leak", params, duration_s, hosts, timeout_s)


def lock_clocks(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    duration_s: float,
    mhz: int | None = None,
    min_mhz: int | None = None,
    max_mhz: int | None = None,
    prior_lock: dict[str, int] | None = None,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Lock the GPU's clock to a range: it works slower, as one that throttles, and nothing looks broken.

    {"name": "run at 600 MHz", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "lock_clocks", "arguments": {"gpu": "GPU-5c0ffee0-…", "mhz": 600, "duration_s": 120}}}

    mhz: one clock; or min_mhz and max_mhz. prior_lock: {"min_mhz", "max_mhz"} that are in force already and are put
    back afterwards; no driver can be asked, so without it undo takes every lock away, and a GPU that seems to be
    locked by somebody is refused. Needs root. Put load on the GPU before: an idle one may show nothing.
    """
    params = check.gpu_params(gpu, allow_index) | check.prior_lock(prior_lock)
    if mhz is None:
        params.update(check.band("", min_mhz, max_mhz))
    else:
        check.only_one(mhz=mhz, min_mhz=min_mhz)
        check.only_one(mhz=mhz, max_mhz=max_mhz)
        params["mhz"] = check.whole("mhz", mhz, least=1, most=10_000)
    return put_in("gpu.clock.lock", params, duration_s, hosts, timeout_s)


def cap_power(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    watts: int,
    duration_s: float,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Set the GPU's power limit: under load its clocks fall until it draws no more than that.

    {"name": "cap at 300 W", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "cap_power", "arguments": {"gpu": "GPU-5c0ffee0-…", "watts": 300, "duration_s": 120}}}

    watts: whole watts within the GPU's own bounds (nvidia-smi -q -d POWER shows them). Needs root.
    """
    params = check.gpu_params(gpu, allow_index)
    params["watts"] = check.whole("watts", watts, least=1)
    return put_in("gpu.power.cap", params, duration_s, hosts, timeout_s)


def set_compute_mode(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    mode: str,
    duration_s: float,
    squatter: bool = False,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Shut new processes out of the GPU; those that have it keep it, so restart the service to see it fail.

    {"name": "nobody gets in", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "set_compute_mode", "arguments": {"gpu": "GPU-5c0ffee0-…", "mode": "prohibited", "duration_s": 60}}}

    mode: "prohibited" (no new process), or "exclusive_process" (one process alone); with `squatter` that one is ours,
    and all others are told that the device is busy (CUDA error 46). Needs root.
    """
    params = check.gpu_params(gpu, allow_index)
    params["mode"] = check.one_of("mode", mode, ("prohibited", "exclusive_process"))
    params["squatter"] = check.flag("squatter", squatter)
    return put_in("gpu.compute_mode.set", params, duration_s, hosts, timeout_s)


def disable_persistence(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    duration_s: float,
    prior_lock: dict[str, int] | None = None,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Turn persistence off: when the last process leaves, the GPU shuts down and forgets its settings.

    {"name": "cold starts", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "disable_persistence", "arguments": {"gpu": "GPU-5c0ffee0-…", "duration_s": 300}}}

    prior_lock: {"min_mhz", "max_mhz"} that the clocks are locked to, since that is lost, too, and no driver can be
    asked. Power limit and compute mode are captured and put back. Needs root.
    """
    params = check.gpu_params(gpu, allow_index) | check.prior_lock(prior_lock)
    return put_in("gpu.persistence.off", params, duration_s, hosts, timeout_s)


def burn(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    duration_s: float,
    duty_percent: float = 100,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Keep every SM of the GPU busy for a share of the time: others get less of it, and it warms up.

    {"name": "a noisy neighbour", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "burn", "arguments": {"gpu": "GPU-5c0ffee0-…", "duty_percent": 80, "duration_s": 60}}}

    duty_percent: 1 to 100 percent of the time. It brings utilisation and moderate power, not the product's full power.
    """
    params = check.gpu_params(gpu, allow_index)
    params["duty_percent"] = check.number("duty_percent", duty_percent, least=1, most=100)
    return put_in("gpu.burn", params, duration_s, hosts, timeout_s)


def kill_processes(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    restored_by: dict[str, object],
    duration_s: float,
    pid: int | None = None,
    user: str | None = None,
    signal: str = "KILL",
    back_within_s: float = 30,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Kill the processes of one pid or user on the GPU; what is named brings the service back.

    {"name": "the server dies", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "kill_processes", "arguments": {"gpu": "GPU-5c0ffee0-…", "user": "triton", "duration_s": 60,
     "restored_by": {"unit": "triton.service"}}}}

    pid or user: whose processes. restored_by: {"unit": …}, or {"command": [...]} that starts the service and returns;
    it is run at the undo, as the service's user, if a supervisor has not been faster. signal: "KILL" or "TERM".
    back_within_s: 1 to 600, how long the service may take to be there again after that.
    """
    params = check.gpu_params(gpu, allow_index) | check.processes(pid, user)
    params["restored_by"] = check.restorer(restored_by)
    params["signal"] = check.one_of("signal", signal, ("KILL", "TERM"))
    params["back_within_s"] = check.number("back_within_s", back_within_s, least=1, most=600)
    return put_in("gpu.process.kill", params, duration_s, hosts, timeout_s)


def stop_processes(  # noqa: PLR0917 (experiments name their arguments)
    gpu: str,
    duration_s: float,
    pid: int | None = None,
    user: str | None = None,
    hosts: str = "localhost",
    timeout_s: float = 30.0,
    allow_index: bool = False,
) -> JsonObject:
    """Stop the whole service that the processes of one pid or user on the GPU belong to, and continue it afterwards.

    {"name": "the server hangs", "type": "action", "provider": {"type": "python", "module": "chaosgpu.gpu.actions",
     "func": "stop_processes", "arguments": {"gpu": "GPU-5c0ffee0-…", "user": "triton", "duration_s": 20}}}

    pid or user: whose processes; it is widened to the service's whole tree, since stopping a Triton stub alone and
    continuing it kills the server.
    """
    params = check.gpu_params(gpu, allow_index) | check.processes(pid, user)
    return put_in("gpu.process.stop", params, duration_s, hosts, timeout_s)
