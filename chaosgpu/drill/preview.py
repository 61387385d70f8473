# SPDX-License-Identifier: Apache-2.0
"""What a drill would meet on its hosts: GPUs by UUID, the processes on them, Slurm jobs, leases. It changes nothing."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chaosgpu.drill.command import Run, run_command
from chaosgpu.drill.plan import Plan
from chaosgpu.errors import ChaosGpuError, Refused
from chaosgpu.fleet.ask import Question, ask_all
from chaosgpu.fleet.values import JsonMapping, JsonObject, objects

__all__ = ["Gpu", "HostSeen", "look", "refuse_busy_hosts", "slurm_jobs", "undo_lines"]

_ASK_S = 60.0
_READ_S = 15.0
_SQUEUE_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """One GPU and what runs on it; `processes` is None where nobody can say, and `unknown` says why."""

    uuid: str
    name: str
    processes: tuple[str, ...] | None = None
    unknown: str = ""


@dataclass(frozen=True)
class HostSeen:
    """What was seen of one host; `error` where it gave no answer."""

    host: str
    error: str | None = None
    gpus: tuple[Gpu, ...] = ()
    gpus_unknown: str = ""
    # Faults that somebody has in force there, and why it takes no new one.
    leases: tuple[str, ...] = ()
    halted: str | None = None
    slurm: tuple[str, ...] | None = None
    slurm_unknown: str = ""


def look(hosts: Sequence[str], *, with_jobs: bool = True, run: Run = run_command) -> list[HostSeen]:
    """Ask each host, all at once: two round trips, whatever their number."""
    asked = [Question(host, verb, {}, _ASK_S) for host in hosts for verb in ("facts", "list")]
    answers = ask_all(asked)
    facts, lists = (dict(zip(hosts, answers[at::2], strict=True)) for at in (0, 1))
    gpus = {host: _gpus(facts[host]) for host in hosts}
    on_gpus = [(host, gpu) for host in hosts for gpu in gpus[host]]
    read = [
        Question(host, "read", {"reading": "gpu.processes", "params": {"gpu": gpu.uuid}}, _READ_S)
        for host, gpu in on_gpus
    ]
    told = {(host, gpu.uuid): one for (host, gpu), one in zip(on_gpus, ask_all(read) if read else [], strict=True)}
    seen = [
        _seen(host, facts[host], lists[host], [_with_processes(gpu, told[host, gpu.uuid]) for gpu in gpus[host]])
        for host in hosts
    ]
    return [_with_jobs(one, run) for one in seen] if with_jobs else seen


def refuse_busy_hosts(seen: Sequence[HostSeen]) -> None:
    """Raise Refused where a host does not answer, is halted, or has somebody's fault in force."""
    for one in seen:
        if one.error is not None:
            raise Refused(f"{one.host} must answer before a drill may begin: {one.error}")
        if one.halted is not None:
            raise Refused(f"{one.host} is halted {one.halted}. When that is settled: chaosgpu resume --reason '…'.")
        if one.leases:
            raise Refused(
                f"{one.host} is not free: {one.leases[0]} is in force there. Another drill has it, or a dead one left "
                "it (chaosgpu leases, chaosgpu recover)."
            )


def undo_lines(plan: Plan) -> list[str]:
    """Say how everything is undone at once, from here and on a host without network."""
    words = "".join(f" --inventory {one}" for one in plan.hosts.inventory)
    limit = f"{words} --limit {','.join(plan.hosts.names)}" if plan.hosts.inventory else ""
    return [
        "chaosgpu drill stop --reason '…'         in order: undo, then end",
        f"chaosgpu halt --reason '…'{limit}         at once, and no new fault until chaosgpu resume",
        "touch /run/chaosgpu/HALT                 on the host itself, without network",
        f"chaosgpu recover RUN{limit}               after a controller that died",
        f"by itself: each fault ends at its deadline, after {plan.longest_fault_s} s at most",
    ]


def slurm_jobs(host: str, run: Run = run_command) -> tuple[str, ...] | str:
    """List the Slurm jobs on a node, as squeue of this machine tells them, or say why that is not known."""
    squeue = shutil.which("squeue")
    if squeue is None:
        return "there is no squeue here"
    try:
        done = run([squeue, "--noheader", f"--nodelist={host}", "--format=%i %u %T %j"], b"", _SQUEUE_S)
    except ChaosGpuError as error:
        return str(error)
    if done.status != 0:
        return done.said
    return tuple(line.strip() for line in done.out.decode(errors="replace").splitlines() if line.strip())


def _with_jobs(seen: HostSeen, run: Run) -> HostSeen:
    jobs = slurm_jobs(seen.host, run)
    known = None if isinstance(jobs, str) else jobs
    why = jobs if isinstance(jobs, str) else ""
    return replace(seen, slurm=known, slurm_unknown=why)


def _gpus(facts: JsonObject | ChaosGpuError) -> list[Gpu]:
    if isinstance(facts, ChaosGpuError) or not isinstance(facts.get("gpus"), list):
        return []
    return [
        Gpu(str(one["uuid"]), str(one.get("name", "of no known name")))
        for one in objects(facts, "gpus")
        if isinstance(one.get("uuid"), str)
    ]


def _seen(
    host: str, facts: JsonObject | ChaosGpuError, listed: JsonObject | ChaosGpuError, gpus: Sequence[Gpu]
) -> HostSeen:
    if isinstance(listed, ChaosGpuError):
        return HostSeen(host, error=str(listed))
    unknown = str(facts) if isinstance(facts, ChaosGpuError) else "" if gpus else "it tells of none"
    halted = listed.get("halted")
    return HostSeen(
        host,
        gpus=tuple(gpus),
        gpus_unknown=unknown,
        leases=tuple(
            f"{one.get('fault')} of run {one.get('run')} ({one.get('lease')}, {one.get('state')})"
            for one in objects(listed, "leases")
        ),
        halted=f"by {halted.get('by')}: {halted.get('reason')}" if isinstance(halted, dict) else None,
    )


def _with_processes(gpu: Gpu, answer: JsonObject | ChaosGpuError) -> Gpu:
    if isinstance(answer, ChaosGpuError):
        return Gpu(gpu.uuid, gpu.name, None, str(answer))
    values = answer.get("values")
    listed = values.get("processes") if isinstance(values, dict) else None
    if not isinstance(listed, list):
        return Gpu(gpu.uuid, gpu.name, None, "the driver does not tell them")
    return Gpu(gpu.uuid, gpu.name, tuple(_process(one) for one in listed if isinstance(one, dict)))


def _process(one: JsonMapping) -> str:
    name = str(one.get("name") or one.get("command") or "of no known name").rsplit("/", 1)[-1]
    used = one.get("used_mib")
    return f"{name} (pid {one.get('pid')}, {f'{used:g} MiB' if isinstance(used, (int, float)) else 'memory unknown'})"
