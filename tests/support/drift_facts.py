# SPDX-License-Identifier: Apache-2.0
"""The facts of a sound host as an agent gives them, and what may be wrong with it."""

import copy
from collections.abc import Mapping

from chaosgpu.cuda.facts import Facts
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["DRIVER", "GPU", "host", "sound"]

DRIVER = "580.95.05"
GPU: JsonObject = {
    "product": "NVIDIA H100 80GB HBM3", "serial": "1652922000001", "pci_bus_id": "00000000:1B:00.0",
    "compute_capability": "9.0", "memory_mib": 81559, "vbios": "96.00.89.00.01", "inforom_image": "G520.0200.00.05",
    "persistence": True, "compute_mode": "default", "ecc": True, "mig": False, "power_limit_watts": 700.0,
}  # fmt: skip


def sound() -> JsonObject:
    """Return the document of a host of which no rule has anything to say."""
    return {
        "kernel": {
            "release": "6.8.0-85-generic", "distribution": "ubuntu 24.04",
            "command_line": "BOOT_IMAGE=/vmlinuz root=UUID=1 ro iommu=pt",
        },
        "driver": {
            "module": DRIVER, "module_on_disk": DRIVER, "flavour": "open", "library": DRIVER, "nvml_library": DRIVER,
            "strays": [], "package_name": "libnvidia-compute-580", "package": f"{DRIVER}-0ubuntu1",
        },
        "cuda": {
            "toolkits": {"12.9": "12.9.1"}, "default": "12.9", "forward_compat": {},
            "libraries": {"libcusparse": ["/usr/local/cuda-12.9/lib64/libcusparse.so.12.5.10.65"]},
        },
        "packages": {
            "installed": {
                "libnvidia-compute-580": f"{DRIVER}-0ubuntu1", "nvidia-fabricmanager-580": f"{DRIVER}-1",
                "nvidia-container-toolkit": "1.18.0-1", "libnccl2": "2.27.7-1+cuda12.9",
            },
            "holds": ["libnvidia-compute-580"], "broken": {},
        },
        "apt": {
            "pins": [{"package": "src:*nvidia*:any", "pin": f"version {DRIVER}-0ubuntu1", "priority": "1001"}],
            "unattended_upgrades": True, "blacklist": [],
        },
        "containers": {
            "toolkit": "1.18.0-1", "cdi_driver": DRIVER,
            "toolkit_packages": {"nvidia-container-toolkit": "1.18.0-1", "libnvidia-container1": "1.18.0-1"},
            "images": {"triton": {"image": "nvcr.io/nvidia/tritonserver:25.10-vllm-python-py3", "digest": "sha256:aa"}},
        },
        "services": {
            "triton.service": {
                "libcuda": [_file(f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}", DRIVER)],
                "libcudart": [_file("/opt/v/nvidia/cuda_runtime/lib/libcudart.so.12", "12.9.79")],
                "libcusparse": [_file("/opt/v/nvidia/cusparse/lib/libcusparse.so.12", "12.5.10.65")],
            }
        },
        "environments": {"chat": {"python": "3.12.3", "packages": {"torch": "2.9.1", "nvidia-nccl-cu12": "2.27.5"}}},
        "engines": {"/models/a/1/model.plan": {"tensorrt": "10.13.3.9"}},
        "triton": {},
        "units": {"fabric_manager": "active", "persistence_daemon": "active", "dcgm": "absent"},
        "nics": {"eth0": {"driver": "mlx5_core", "firmware": "28.39.1002 (MT_0000000838)"}},
        "gpus": {"GPU-1": dict(GPU), "GPU-2": {**GPU, "serial": "1652922000002", "pci_bus_id": "00000000:43:00.0"}},
    }  # fmt: skip


def host(name: str = "gpu01", changes: Mapping[str, JsonValue] | None = None, **unknown: str) -> Facts:
    """Return a sound host with some values changed, by paths such as driver/module; None takes one out.

    `unknown` names values that the host cannot tell, with `__` for the dot.
    """
    document = copy.deepcopy(sound())
    for path, value in (changes or {}).items():
        *folders, last = path.split("|") if "|" in path else path.split("/")
        at = document
        for folder in folders:
            inner = at.setdefault(folder, {})
            assert isinstance(inner, dict)
            at = inner
        if value is None:
            del at[last]
        else:
            at[last] = value
    return Facts(name, document, {key.replace("__", "."): why for key, why in unknown.items()})


def _file(path: str, version: str, *, deleted: bool = False) -> JsonValue:
    return {"path": path, "version": version, "deleted": deleted}
