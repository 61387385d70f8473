# SPDX-License-Identifier: Apache-2.0
"""Lays a lab's folder out before anything is started: GPUs, agent home, model repository, environment, plan."""

import json
import os
import pwd
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.lab import gpus
from chaosgpu.lab.alerting import RULES
from chaosgpu.lab.alerting import laid_out as watched
from chaosgpu.lab.guardian import clean
from chaosgpu.lab.install import TritonInstall
from chaosgpu.lab.pipeline import laid_out
from chaosgpu.lab.plan import LabPlan, free_ports, new_identity
from chaosgpu.lab.repository import write_repository
from chaosgpu.lab.variants import variant

__all__ = ["LabOptions", "clear", "write_plan"]

# What the lab writes; anything else in its folder is not ours to remove.
_OURS = ("sim", "agent", "repository", "tmp", "store", "lab.json", "canary.json", "requests.json", "pages.jsonl",
         "alerting", "traffic.jsonl",
         "pipeline-traffic.jsonl", "triton.log", "traffic.log", "store.log", "gateway.log", "pager.log",
         "alertmanager.log", "prometheus.log", "lab.log")  # fmt: skip
_POLICY = {
    "version": 1,
    "permit": ["gpu.*"],
    "max_duration_s": 600,
    "protected": {"units": [], "gpus": []},
    "approvals": {"required": False, "allowed_signers": None},
    "python": None,
}


@dataclass(frozen=True)
class LabOptions:
    """What `chaosgpu lab up` was asked for."""

    directory: Path
    variant: str = "fragile"
    profile: str = "h100"
    gpus: int = 1
    real_gpu: bool = False
    lifetime_s: float = 1800.0
    traffic: bool = True
    pipeline: bool = False
    alerts: bool = False
    gpu_work: bool = False


def clear(directory: Path) -> None:
    """Remove what an earlier lab left in the folder, and only that."""
    before = LabPlan.read(directory)
    if before is not None:
        clean(before)
    for name in _OURS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_plan(options: LabOptions, directory: Path, triton: TritonInstall, say: Callable[[str], None]) -> LabPlan:
    """Write everything that the processes of the lab will read."""
    chosen = variant(options.variant)
    library = {} if options.real_gpu else gpus.simulated(directory / "sim", options.profile, options.gpus)
    gpu = gpus.first_gpu(library)
    agent_home = directory / "agent"
    for folder in (agent_home, directory / "tmp"):
        folder.mkdir(mode=0o700)
    (agent_home / "policy.json").write_text(json.dumps(_POLICY, indent=1) + "\n")
    write_repository(
        directory / "repository",
        chosen,
        gpu,
        gpus.cuda_library(library),
        pipeline=options.pipeline,
        gpu_work=options.gpu_work,
    )
    port = free_ports()
    url = f"http://127.0.0.1:{port}"
    pipeline = laid_out(directory, chosen.name, url, say) if options.pipeline else None
    targets = {"triton": f"127.0.0.1:{port + 2}"}
    if pipeline is not None:
        targets["gateway"] = pipeline.gateway_url.removeprefix("http://")
    alerting = watched(directory, targets, RULES, say) if options.alerts else None
    parts = [part for part in (pipeline, alerting) if part is not None]
    exported = {
        **library,
        "CHAOSGPU_AGENT_HOME": str(agent_home),
        "TRITON_URL": url,
        "CHAOSGPU_CANARY": str(directory / "canary.json"),
        "CHAOSGPU_LAB_GPU": gpu.uuid,
        "CHAOSGPU_LAB_VARIANT": chosen.name,
        "CHAOSGPU_LAB_USER": pwd.getpwuid(os.getuid()).pw_name,
        **{name: value for part in parts for name, value in part.exported.items()},
    }
    plan = LabPlan(
        identity=new_identity(),
        directory=str(directory),
        variant=chosen.name,
        gpu=gpu.uuid,
        server=str(triton.server),
        backends=str(triton.backends),
        http_port=port,
        lifetime_s=options.lifetime_s,
        with_traffic=options.traffic,
        serving=_serving(exported, triton, directory / "tmp", simulated=bool(library)),
        exported=exported,
        models=("chat",) if pipeline is None else ("chat", "embed"),
        services=tuple(service for part in parts for service in part.services),
    )
    plan.write()
    return plan


def _serving(exported: dict[str, str], triton: TritonInstall, temporary: Path, *, simulated: bool) -> dict[str, str]:
    """Give Triton's whole environment.

    Triton must not find simulated libraries itself: its CUDA runtime wants more of them than the driver API, and does
    without a GPU when it finds none. The model loads the library that its configuration names.
    """
    libraries = ["" if simulated else os.environ.get("LD_LIBRARY_PATH", ""), str(triton.python_library_directory)]
    return {
        **{name: value for name, value in exported.items() if name.startswith("CHAOSGPU_")},
        **({"CUDA_VISIBLE_DEVICES": ""} if simulated else {}),
        "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
        "PATH": f"{triton.binaries}:/usr/bin:/bin",
        "TMPDIR": str(temporary),
        "HOME": str(temporary),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
