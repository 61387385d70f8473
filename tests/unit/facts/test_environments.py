# SPDX-License-Identifier: Apache-2.0
"""CUDA on the disk, Python environments, Triton and TensorRT engines, all without running or importing any of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.agent.facts.cuda import cuda
from chaosgpu.agent.facts.engines import engines
from chaosgpu.agent.facts.environments import environments, triton_version
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from support.host_tree import link, loader_cache, write


def _engine(version: tuple[int, int, int, int], form: int = 0) -> bytes:
    return b"ftrt" + form.to_bytes(4, "little") + bytes(16) + bytes(version) + b"the rest"


def test_a_real_virtual_environment_is_read_without_importing_it(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    [site] = folder.glob("lib/python3.*/site-packages")
    poison = {"torch/__init__.py": "raise SystemExit('imported')"}
    names = ("torch-2.9.1+cu128", "nvidia_nccl_cu12-2.27.5", "tritonclient-2.61.0", "requests-2.32.0")
    write(site, poison | {f"{name}.dist-info/METADATA": "" for name in names})
    found = environments(Tree(), {"chat": str(folder)})
    assert found.values["chat"] == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "packages": {"nvidia-nccl-cu12": "2.27.5", "torch": "2.9.1+cu128", "tritonclient": "2.61.0"},
    }


def test_a_folder_of_packages_is_an_environment_too(tmp_path: Path) -> None:
    site = "/usr/lib/python3.12/dist-packages"
    write(tmp_path, {f"{site}/vllm-0.11.0.dist-info/METADATA": "", f"{site}/Triton_x-1.egg-info/PKG-INFO": ""})
    found = environments(Tree(str(tmp_path)), {"host": site, "none": "/srv", "gone": "/nowhere"})
    assert found.values == {"host": {"python": "3.12", "packages": {"vllm": "0.11.0"}}}
    assert set(found.unknown) == {"none", "gone"}


def test_toolkits_the_default_and_forward_compatibility_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/usr/local/cuda-12.9/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.9.1"}}',
            "/usr/local/cuda-11.8/bin/nvcc": "",
            "/usr/local/cuda-12.9/compat/libcuda.so.575.57.08": "library",
            "/usr/local/cudas/x": "",
            "/etc/ld.so.cache": loader_cache(
                [
                    ("libcusparse.so.12", "/usr/local/cuda-12.9/lib64/libcusparse.so.12"),
                    ("libcusparse.so.12", "/opt/other/libcusparse.so.12"),
                    ("libc.so.6", "/lib/libc.so.6"),
                ]
            ),
        },
    )
    link(tmp_path, "/usr/local/cuda", "/usr/local/cuda-12.9")
    link(tmp_path, "/usr/local/cuda-12.9/compat/libcuda.so.1", "libcuda.so.575.57.08")
    link(tmp_path, "/usr/local/cuda-12.9/lib64/libcusparse.so.12", "libcusparse.so.12.5.10.65")
    found = cuda(Tree(str(tmp_path)))
    assert found.values == {
        "toolkits": {"11.8": "11.8", "12.9": "12.9.1"},
        "default": "12.9",
        "forward_compat": {"12.9": "575.57.08"},
        "libraries": {
            "libcusparse": ["/usr/local/cuda-12.9/lib64/libcusparse.so.12.5.10.65", "/opt/other/libcusparse.so.12"]
        },
    }


def test_a_host_without_cuda_has_no_toolkit_which_is_known(tmp_path: Path) -> None:
    (tmp_path / "usr/local").mkdir(parents=True)
    found = cuda(Tree(str(tmp_path)))
    assert found.values == {"toolkits": {}, "forward_compat": {}}
    assert set(found.unknown) == {"default", "libraries"}


def test_an_engine_tells_with_which_tensorrt_it_was_built(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/models/a/1/model.plan": _engine((10, 13, 3, 9)),
            "/models/b.v2/1/model.engine": _engine((10, 8, 0, 43)),
            "/models/c/1/model.plan": b"ftrt",
            "/models/d/1/model.plan": _engine((10, 13, 3, 9), form=7),
            "/models/e/1/model.onnx": b"onnx",
        },
    )
    found = engines(Tree(str(tmp_path)), ["/models/", "/nowhere"])
    assert found.values == {
        "/models/a/1/model.plan": {"tensorrt": "10.13.3.9"},
        "/models/b.v2/1/model.engine": {"tensorrt": "10.8.0.43"},
    }
    assert "is no TensorRT engine" in str(found.unknown["/models/c/1/model.plan"])
    assert "a form of engine that is not known" in str(found.unknown["/models/d/1/model.plan"])
    assert found.unknown["/nowhere"] == "/nowhere is not there"
    assert "not published" in str(found.unknown["/models/a/1/model.plan.compute_capability"])


def test_a_triton_server_tells_its_version(tmp_path: Path) -> None:
    write(tmp_path, {"/opt/tritonserver/TRITON_VERSION": "2.61.0\n", "/opt/odd/TRITON_VERSION": "newest\n"})
    assert triton_version(Tree(str(tmp_path)), "/opt/tritonserver") == "2.61.0"
    for folder, why in (("/opt/odd", "holds no version"), ("/opt/none", "is not there")):
        with pytest.raises(UnknownFact, match=why):
            triton_version(Tree(str(tmp_path)), folder)
