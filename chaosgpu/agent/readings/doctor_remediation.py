# SPDX-License-Identifier: Apache-2.0
"""Programs that act by themselves when a GPU, a unit or the host looks ill: what each would do to a drill."""

from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.residue.finding import Unlooked
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonValue

__all__ = ["remediation_checks"]


@dataclass(frozen=True)
class _Agent:
    """One such program: how it is known, and what it does when it sees our fault; `acts`: it does so by itself."""

    name: str
    programs: Tuple[str, ...]
    units: Tuple[str, ...]
    files: Tuple[Tuple[str, str], ...]  # path, and a text in it ("" where the file alone tells)
    does: str
    acts: bool = True


_AGENTS = (
    _Agent("gpud", ("gpud",), ("gpud.service",), (),
           "it reports Xid, ECC and clock events, and may ask for a reboot: an Xid of a drill looks like a broken GPU"),
    _Agent("NVSentinel", ("nvsentinel", "fault-quarantine", "fault-remediation", "node-drainer"), (), (),
           "it cordons and drains the node, and may reset the GPU or reboot, in the middle of a drill"),
    _Agent("Slurm", ("slurmd",), ("slurmd.service",), (("/etc/slurm/slurm.conf", "HealthCheckProgram"),),
           "slurmd runs HealthCheckProgram where one is set, which drains the node; a job may also be requeued"),
    _Agent("NHC", ("nhc",), (), (("/etc/nhc/nhc.conf", ""),),
           "Node Health Check marks the node as drained when a check of its list fails"),
    _Agent("DCGM", ("nv-hostengine", "dcgm-exporter"), ("nvidia-dcgm.service", "dcgm-exporter.service"), (),
           "health watches and policies of DCGM raise alarms; whoever listens may act. It also reads the GPU all the "
           "time", acts=False),
    _Agent("node-problem-detector", ("node-problem-detector",), ("node-problem-detector.service",), (),
           "it sets conditions on the Kubernetes node from the kernel log, and others drain by them"),
    _Agent("kubelet", ("kubelet", "k3s", "rke2"), ("kubelet.service",), (),
           "it starts what dies again and evicts under pressure: a killed process comes back elsewhere"),
    _Agent("monit", ("monit",), ("monit.service",), (),
           "it starts services again, and may do so against a fault that stops or freezes one"),
    _Agent("earlyoom", ("earlyoom",), ("earlyoom.service",), (),
           "it kills the largest process before memory is full: a drill with host memory ends in its choice"),
    _Agent("systemd-oomd", ("systemd-oomd",), ("systemd-oomd.service",), (),
           "it kills whole control groups under memory pressure"),
    _Agent("watchdog", ("watchdog", "wd_keepalive"), ("watchdog.service",),
           (("/etc/watchdog.conf", "watchdog-device"),),
           "it reboots the host when load or a test program is over its limit"),
    _Agent("nvidia-persistenced", ("nvidia-persistenced",), ("nvidia-persistenced.service",), (),
           "it keeps the driver loaded and turns persistence on when it starts; it does not act on faults", acts=False),
    _Agent("nvidia-fabricmanager", ("nv-fabricmanager",), ("nvidia-fabricmanager.service",), (),
           "it may take an NVSwitch or a GPU out of the fabric when links fail"),
)  # fmt: skip
_UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_ACTS_FOR_UNIT = ("OnFailure=", "WatchdogSec=", "StartLimitAction=", "FailureAction=", "Restart=always")
_GPU_UNITS = ("triton", "vllm", "ollama", "nvidia", "dcgm", "slurmd", "docker", "containerd")


def remediation_checks(scene: Scene) -> List[JsonValue]:
    """Return one check for each that is there; null: a person decides whether the drill goes with it."""
    found: List[JsonValue] = []
    try:
        for agent in _AGENTS:
            where = _where(agent, scene)
            if where:
                detail = f"It is here ({', '.join(where)}): {agent.does}."
                found.append(_check(agent.name, detail, ok=None if agent.acts else True))
        for unit, settings in _units_that_act(scene):
            detail = f"systemd itself acts for it ({', '.join(settings)}): a fault that ends or hangs it is answered."
            found.append(_check(unit, detail))
    except (Unlooked, AgentError) as error:
        found.append(_check("any", f"It could not be found out: {error}."))
    if not found:
        found.append(_check("any", "None of those that are known runs here or is set up here.", ok=True))
    return found


def _check(name: str, detail: str, ok: Optional[bool] = None) -> JsonValue:
    return {"name": f"remediation {name}", "ok": ok, "detail": detail, "group": "remediation"}


def _where(agent: _Agent, scene: Scene) -> List[str]:
    running = [process for process in scene.others if process.called(*agent.programs)]
    where = [f"pid {process.pid}" for process in running[:3]]
    for path, part in agent.files:
        text = scene.text(path)
        if text is not None and (not part or _says(text, part)):
            where.append(path)
    for unit in agent.units:
        if any(scene.status(f"{folder}/{unit}") is not None for folder in _UNIT_FOLDERS[:2]):
            where.append(unit)
        elif any(scene.status(f"{folder}/multi-user.target.wants/{unit}") is not None for folder in _UNIT_FOLDERS[:1]):
            where.append(f"{unit}, enabled")
    return where


def _units_that_act(scene: Scene) -> List[Tuple[str, List[str]]]:
    found = []
    for folder in _UNIT_FOLDERS[:2]:
        for name in scene.names(folder):
            if not name.endswith(".service") or not name.startswith(_GPU_UNITS):
                continue
            text = scene.text(f"{folder}/{name}") or ""
            settings = [line.strip() for line in text.splitlines() if line.strip().startswith(_ACTS_FOR_UNIT)]
            settings = [line for line in settings if line not in ("WatchdogSec=0", "OnFailure=")]
            if settings:
                found.append((name, settings))
    return found


def _says(text: str, part: str) -> bool:
    return any(line.strip().startswith(part) for line in text.splitlines())
