# SPDX-License-Identifier: Apache-2.0
"""What an experiment may do to a host's units, packages and disks.

docs/faults.md has what each changes, refuses and how well it is undone.

Every action puts one fault in, sees it verified on the host, and returns {"host", "lease", "fault", "observed",
"expires_in_s"}. It is undone by the rollback chaosgpu.lease.actions.undo_all, by chaosgpu.lease.actions.undo with its
lease, and else by the host itself 10 s after `duration_s`.

`unit` is the whole name of a service; an alias will do. `duration_s`: how long, in seconds. `back_within_s`: 1 to 600,
how long the service may take to be up again at the undo. `hosts`: where, "localhost". `timeout_s`: how long the host
may take to put it in and verify it. All need root, those on units systemd, too.

Every action raises BadArgument (a value is wrong; nothing was touched), Refused (the host's policy, a claim, or the
unit's state said no; nothing was changed), NoGuard (the guard control is not active), FaultUnverified (it was put in
and not seen, and undone at once), AgentFailed or Unreachable.
"""

from typing import Any

from chaosgpu.fleet.arguments import flag, number, one_of, only_one, whole
from chaosgpu.fleet.values import JsonObject
from chaosgpu.host.arguments import (
    back_within,
    cuda_code,
    file_paths,
    folder_path,
    listed,
    package_names,
    put_in,
    unit_name,
    versions,
)

__all__ = [
    "damage_files",
    "deny_gpu_to_unit",
    "fill_disk",
    "freeze_unit",
    "hide_gpu_from_unit",
    "inject_cuda_errors",
    "install_packages",
    "kill_unit",
    "shrink_kv_cache",
    "stop_unit",
    "vanish_files",
]


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


def vanish_files(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    files: list[str],
    duration_s: float,
    folders: bool = False,
    back_within_s: float = 60,
    hosts: str = "localhost",
    timeout_s: float = 120.0,
) -> JsonObject:
    """Stop a service, set files of its own aside, and start it without them, such as a database without its index.

    {"name": "the index is gone", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "vanish_files", "arguments": {"unit": "chroma.service", "duration_s": 60,
     "files": ["/var/lib/chroma/5f0c9f3e-8d0a-4a9e-9d5e-0f3f1e0f7a11/data_level0.bin"]}}}

    files: 1 to 16 absolute paths of plain files of the service's own, no links. folders: the folders that they are in
    go, too, and must have no others in them: a Chroma whose segments' folders are gone answers wrongly where one whose
    files are gone says so. `observed` tells of each whether it is
    missing or the service has made another, and how the service is: one that does not come up is an effect. The undo
    stops it, puts the very files back, and starts it; what it wrote to them meanwhile is gone, what it wrote elsewhere
    stays. timeout_s has to cover a stop (at most 20 s) and a start (back_within_s).
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    params.update({"files": file_paths(files), "folders": flag("folders", folders)})
    return put_in("unit.files.vanish", params, duration_s, hosts, timeout_s)


def damage_files(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    files: list[str],
    duration_s: float,
    bytes: int,  # noqa: A002 (what an experiment calls it)
    seed: int = 1,
    back_within_s: float = 60,
    hosts: str = "localhost",
    timeout_s: float = 120.0,
) -> JsonObject:
    """Stop a service, put copies with flipped bytes in the place of files of its own, and start it on them.

    {"name": "the index is damaged", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.host.actions", "func": "damage_files", "arguments": {"unit": "postgresql@16-main.service",
     "files": ["/var/lib/postgresql/16/main/base/5/16467"], "bytes": 200, "duration_s": 60}}}

    files: as for vanish_files, at most 2 GiB in all; the originals are never written. bytes: 1 to 1,000,000, how many
    of each file are flipped. seed: which; the same seed damages the same places. `observed` tells how many are still
    there as they were flipped, since a service may repair its file.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    params.update({"files": file_paths(files), "bytes": whole("bytes", bytes, least=1, most=1_000_000)})
    params["seed"] = whole("seed", seed, least=0)
    return put_in("unit.files.damage", params, duration_s, hosts, timeout_s)


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


def shrink_kv_cache(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    blocks: dict[str, Any],
    environment: dict[str, str] | None = None,
    arguments: list[str] | None = None,
    tolerance_percent: float = 1,
    back_within_s: float = 120,
    hosts: str = "localhost",
    timeout_s: float = 180.0,
) -> JsonObject:
    """Restart a server with a smaller share of GPU memory for its KV cache, and read back that it has fewer blocks.

    {"name": "half the KV cache", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "shrink_kv_cache", "arguments": {"unit": "vllm.service", "duration_s": 300,
     "arguments": ["--gpu-memory-utilization=0.5"],
     "blocks": {"log": true, "pattern": "GPU KV cache size: ([0-9,]+) tokens"}}}}

    environment: {"name", "value"} of a variable that gives the server less; or arguments: what is put at the end of its
    command. blocks: where it tells how many it has: {"url", "pattern"} (the sum of all matches), {"url", "pointer"}
    (JSON), or {"log": true, "pattern"} (the last match since its start); a pattern has one group, a url is this host's
    own. tolerance_percent: 0 to 20, how far the number may be from what it was after the undo. The service is restarted
    before and at the undo, each within back_within_s; timeout_s has to cover it.
    """
    only_one(environment=environment, arguments=arguments)
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s), "blocks": blocks}
    params["tolerance_percent"] = number("tolerance_percent", tolerance_percent, most=20)
    params.update({"environment": {**environment}} if environment is not None else {"arguments": listed(arguments)})
    return put_in("unit.kv_cache.shrink", params, duration_s, hosts, timeout_s)


def inject_cuda_errors(  # noqa: PLR0917 (experiments name their arguments)
    unit: str,
    duration_s: float,
    code: int,
    calls: list[str] | None = None,
    every: int = 1,
    ready_url: str | None = None,
    settle_s: float = 2,
    traffic_within_s: float = 10,
    back_within_s: float = 120,
    library: dict[str, str] | None = None,
    hosts: str = "localhost",
    timeout_s: float = 180.0,
) -> JsonObject:
    """Make CUDA calls of one service fail while nothing is wrong with the GPU; other services see nothing.

    {"name": "illegal address", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "inject_cuda_errors", "arguments": {"unit": "triton.service", "duration_s": 60, "code": 700,
     "ready_url": "http://127.0.0.1:8000/v2/health/ready"}}}

    code: the CUresult: 2 (out of memory), 46, 214, 700 (illegal address), 702 (launch timeout), 719 or 999, by the
    numbers of NVIDIA's cuda.h. calls: some of "alloc", "launch", "copy", "sync"; all by default. every: each n-th of
    these calls of a process. The service is restarted with a library preloaded, in which calls go through until
    ready_url (this host's own) answers 200 and settle_s have passed; then they fail, and the first must do so within
    traffic_within_s: have traffic. library: {"path", "sha256"} of one built elsewhere, where the host has no compiler.
    """
    params: JsonObject = {"unit": unit_name(unit), "back_within_s": back_within(back_within_s)}
    params.update({"code": cuda_code(code), "every": whole("every", every, least=1, most=1_000_000)})
    params["settle_s"] = number("settle_s", settle_s, most=300)
    params["traffic_within_s"] = number("traffic_within_s", traffic_within_s, least=1, most=300)
    if calls is not None:
        params["calls"] = [one_of("calls", call, ("alloc", "launch", "copy", "sync")) for call in calls]
    if ready_url is not None:
        params["ready_url"] = ready_url
    if library is not None:
        params["library"] = {**library}
    return put_in("unit.cuda.errors", params, duration_s, hosts, timeout_s)


def install_packages(  # noqa: PLR0917 (experiments name their arguments)
    packages: dict[str, str],
    duration_s: float,
    may_remove: list[str] | None = None,
    back_within_s: float = 900,
    hosts: str = "localhost",
    timeout_s: float = 1800.0,
) -> JsonObject:
    """Bring packages to other versions, by apt or by dnf, such as a driver that is upgraded under its services.

    {"name": "the driver is upgraded", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.host.actions", "func": "install_packages",
     "arguments": {"packages": {"nvidia-open": "580.95.05-1"}, "duration_s": 600}}}

    packages: each with its whole version; what has to move along is chosen by apt and told in `observed`. may_remove:
    packages that may go for it, none else. back_within_s: 10 to 7200, how long each way may take, DKMS included.
    The package files of both sides are kept on the host first, so that it goes back without a network.
    """
    params: JsonObject = {"packages": versions(packages), "may_remove": package_names(may_remove)}
    params["back_within_s"] = number("back_within_s", back_within_s, least=10, most=7200)
    return put_in("package.install", params, duration_s, hosts, timeout_s)


def fill_disk(  # noqa: PLR0917 (experiments name their arguments)
    folder: str,
    duration_s: float,
    used_percent: float | None = None,
    leave_free_mib: int | None = None,
    take_reserved: bool = False,
    tolerance_mib: int = 8,
    allow_root: bool = False,
    allow_memory: bool = False,
    hosts: str = "localhost",
    timeout_s: float = 60.0,
) -> JsonObject:
    """Fill the file system under a folder, such as a vector database's data; the undo gives the room back.

    {"name": "the disk is full", "type": "action", "provider": {"type": "python", "module": "chaosgpu.host.actions",
     "func": "fill_disk", "arguments": {"folder": "/var/lib/chroma", "leave_free_mib": 0, "duration_s": 60}}}

    folder: an absolute path; no link. used_percent (1 to 100, as `df` counts) or leave_free_mib: the level. Both are
    for who is not root: ext4 keeps some room for root, and take_reserved takes that, too, for a service that runs as
    root. tolerance_mib: at least 1, how much more may be free while it counts as full. allow_root: also where the host
    itself lives. allow_memory: also tmpfs. Everybody who writes there is hit. What others free meanwhile stays free;
    the fault is then no longer seen, and the run inconclusive. The file system of the agent's own records is refused.
    """
    only_one(used_percent=used_percent, leave_free_mib=leave_free_mib)
    params: JsonObject = {"folder": folder_path(folder)}
    if used_percent is not None:
        params["used_percent"] = number("used_percent", used_percent, least=1, most=100)
    else:
        params["leave_free_mib"] = whole("leave_free_mib", leave_free_mib, least=0)
    params["tolerance_mib"] = whole("tolerance_mib", tolerance_mib, least=1, most=1 << 20)
    params["take_reserved"] = flag("take_reserved", take_reserved)
    params["allow_root"] = flag("allow_root", allow_root)
    params["allow_memory"] = flag("allow_memory", allow_memory)
    return put_in("disk.fill", params, duration_s, hosts, timeout_s)
