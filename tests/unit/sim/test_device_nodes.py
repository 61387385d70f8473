# SPDX-License-Identifier: Apache-2.0
"""Device nodes: who cannot open a GPU's node does not have the GPU."""

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def nodes(open_folder: Path) -> Path:
    """Give a folder for nodes."""
    return open_folder / "dev"


def test_each_client_holds_the_nodes_open(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(gpus=2, device_nodes=nodes)
    assert sorted(path.name for path in nodes.iterdir()) == ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]
    peer = start(gpus)
    assert peer("start()") == 0
    held = {str(entry.readlink()) for entry in Path(f"/proc/{peer.pid}/fd").iterdir()}
    assert {str(nodes / "nvidiactl"), str(nodes / "nvidia0")} <= held


def test_without_the_control_node_there_is_no_driver(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(device_nodes=nodes)
    (nodes / "nvidiactl").unlink()
    assert start(gpus).outcome("nvml.nvmlInit()") == "NVMLError_DriverNotLoaded"
    assert start(gpus)("cuda.cuInit(0)") == 100


def test_a_gpu_without_its_node_is_not_enumerated_by_cuda(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(gpus=2, device_nodes=nodes)
    (nodes / "nvidia0").unlink()
    peer = start(gpus)
    assert peer("start(0)") == 0
    assert peer("pids(1)") == [peer.pid]
    (nodes / "nvidia1").unlink()
    assert start(gpus)("cuda.cuInit(0)") == 100


def test_a_node_that_may_not_be_opened_is_no_permission(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(device_nodes=nodes, folder=nodes.parent)
    (nodes / "nvidia0").chmod(0)
    as_nobody = {"PEER_UID": "65534"} if os.geteuid() == 0 else {}
    peer = start(gpus, **as_nobody)
    peer("nvml.nvmlInit()")
    assert peer.outcome("nvml.nvmlDeviceGetHandleByIndex(0)") == "NVMLError_NoPermission"
    assert peer("cuda.cuInit(0)") == 100


def test_memory_cannot_be_taken_once_the_node_is_denied(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(device_nodes=nodes)
    peer = start(gpus)
    assert peer("start() or allocate(2)") == 0
    (nodes / "nvidia0").unlink()
    assert peer("allocate(2)") == 304
    assert gpus.show()[0]["readings"]["used_mib"] == 518 + 2
    (nodes / "nvidia0").touch()
    assert peer("allocate(2)") == 0


def test_the_nodes_are_let_go_when_nvml_is_shut_down(make: Any, start: Any, nodes: Path) -> None:
    gpus = make(device_nodes=nodes)
    peer = start(gpus)

    def held() -> int:
        return sum(str(nodes) in str(entry.readlink()) for entry in Path(f"/proc/{peer.pid}/fd").iterdir())

    for _ in range(30):
        peer("nvml.nvmlInit()")
    assert held() == 2
    for _ in range(30):
        peer("nvml.nvmlShutdown()")
    assert held() == 0
