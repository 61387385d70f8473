# SPDX-License-Identifier: Apache-2.0
"""The driver is read apart: module, module on the disk, library, package; and the loader's cache as ldconfig has it."""

import lzma
import subprocess
from pathlib import Path

import pytest

from chaosgpu.agent.facts.driver import driver, module_version
from chaosgpu.agent.facts.loader import cached_libraries
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from support.host_tree import compiled_library, compiled_module, link, loader_cache, write

_RELEASE = "6.8.0-85-generic"
_LIB = "/usr/lib/x86_64-linux-gnu"
_PROC = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)\n"
    "GCC version:  gcc version 13.3.0\n"
)


def _packages(**versions: str) -> Packages:
    return Packages({name.replace("_", "-"): version for name, version in versions.items()}, (), {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a host with driver 580.95.05 in every place."""
    root = tmp_path / "root"
    write(
        root,
        {
            "/proc/sys/kernel/osrelease": f"{_RELEASE}\n",
            "/proc/driver/nvidia/version": _PROC,
            "/sys/module/nvidia/version": "580.95.05\n",
            f"/lib/modules/{_RELEASE}/modules.dep": "kernel/fs/x.ko:\n"
            "updates/dkms/nvidia-uvm.ko: updates/dkms/nvidia.ko\n"
            "updates/dkms/nvidia.ko:\n",
            f"{_LIB}/libcuda.so.580.95.05": "library",
            f"{_LIB}/libnvidia-ml.so.580.95.05": "library",
            "/etc/ld.so.cache": loader_cache(
                [("libcuda.so.1", f"{_LIB}/libcuda.so.1"), ("libnvidia-ml.so.1", f"{_LIB}/libnvidia-ml.so.1")]
            ),
        },
    )
    link(root, f"{_LIB}/libcuda.so.1", "libcuda.so.580.95.05")
    link(root, f"{_LIB}/libnvidia-ml.so.1", "libnvidia-ml.so.580.95.05")
    compiled_module(root / f"lib/modules/{_RELEASE}/updates/dkms/nvidia.ko", "580.95.05")
    return root


def test_every_place_of_one_driver_tells_its_version(root: Path) -> None:
    found = driver(
        Tree(str(root)), _packages(libnvidia_compute_580="580.95.05-0ubuntu1", nvidia_dkms_580_open="580.95.05-1")
    )
    assert found.values == {
        "module": "580.95.05", "flavour": "open", "module_on_disk": "580.95.05", "library": "580.95.05",
        "nvml_library": "580.95.05", "strays": [], "package_name": "libnvidia-compute-580",
        "package": "580.95.05-0ubuntu1", "module_package_name": "nvidia-dkms-580-open", "module_package": "580.95.05-1",
    }  # fmt: skip
    assert found.unknown == {}


def test_an_upgrade_under_a_running_module_shows_in_the_library_and_not_in_the_module(root: Path) -> None:
    write(root, {f"{_LIB}/libcuda.so.580.105.08": "library"})
    (root / _LIB.lstrip("/") / "libcuda.so.1").unlink()
    link(root, f"{_LIB}/libcuda.so.1", "libcuda.so.580.105.08")
    found = driver(Tree(str(root)), None)
    assert (found.values["module"], found.values["library"]) == ("580.95.05", "580.105.08")
    assert found.values["strays"] == [f"{_LIB}/libcuda.so.580.95.05"]
    assert found.unknown["package"] == "the packages of this host are unknown"


@pytest.mark.parametrize(
    ("name", "version"),
    [("libnvidia_compute", "590.44.01-1"), ("libcuda1", "535.261.03-1"), ("libnvidia_compute_535_server", "535.1-0")],
)
def test_the_librarys_package_is_found_in_each_world_of_packages(root: Path, name: str, version: str) -> None:
    found = driver(Tree(str(root)), _packages(**{name: version}))
    assert found.values["package"] == version


def test_a_host_without_any_driver_says_so_in_every_value(tmp_path: Path) -> None:
    write(tmp_path, {"/proc/sys/kernel/osrelease": _RELEASE, f"/lib/modules/{_RELEASE}/modules.dep": ""})
    found = driver(Tree(str(tmp_path)), _packages())
    assert found.values == {}
    assert found.unknown["module"] == "no NVIDIA kernel module is loaded"
    assert found.unknown["module_on_disk"] == f"no NVIDIA module is on the disk for the running kernel {_RELEASE}"
    assert found.unknown["library"] == "/etc/ld.so.cache is not there"
    assert "another way than packages" in str(found.unknown["package"])


def test_the_loaded_modules_version_is_taken_from_proc_where_sysfs_does_not_tell_it(root: Path) -> None:
    (root / "sys/module/nvidia/version").unlink()
    assert driver(Tree(str(root)), None).values["module"] == "580.95.05"


def test_a_packed_module_is_told_by_dkms_or_unknown(root: Path) -> None:
    folder = root / f"lib/modules/{_RELEASE}/updates/dkms"
    (folder / "nvidia.ko.xz").write_bytes(lzma.compress((folder / "nvidia.ko").read_bytes()))
    write(root, {f"/lib/modules/{_RELEASE}/modules.dep": "updates/dkms/nvidia.ko.xz:\n"})
    tree = Tree(str(root))
    with pytest.raises(UnknownFact, match="packed with xz, and DKMS does not tell"):
        module_version(tree)
    write(root, {f"/var/lib/dkms/nvidia/580.82.07/{_RELEASE}/x86_64/log": ""})
    link(root, f"/var/lib/dkms/nvidia/kernel-{_RELEASE}-x86_64", f"580.82.07/{_RELEASE}/x86_64")
    assert module_version(tree) == "580.82.07"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(60), b"text" * 40])
def test_a_file_that_is_no_module_is_unknown_and_raises_nothing_else(root: Path, content: bytes) -> None:
    (root / f"lib/modules/{_RELEASE}/updates/dkms/nvidia.ko").write_bytes(content)
    assert "module_on_disk" in driver(Tree(str(root)), None).unknown


def test_an_empty_library_is_unknown(root: Path) -> None:
    write(root, {f"{_LIB}/libcuda.so.580.95.05": ""})
    assert driver(Tree(str(root)), None).unknown["library"] == f"{_LIB}/libcuda.so.580.95.05 is empty"


def test_a_link_that_leads_nowhere_is_unknown(root: Path) -> None:
    (root / _LIB.lstrip("/") / "libcuda.so.580.95.05").unlink()
    assert "which is not there" in str(driver(Tree(str(root)), None).unknown["library"])


def test_the_loaders_cache_is_read_as_real_ldconfig_writes_it(tmp_path: Path) -> None:
    compiled_library(tmp_path / "lib" / "libcusparse.so.12.5.4.2", "libcusparse.so.12")
    link(tmp_path, "lib/libcusparse.so.12", "libcusparse.so.12.5.4.2")
    cache = tmp_path / "cache"
    subprocess.run(
        ["/sbin/ldconfig", "-X", "-C", str(cache), "-f", "/dev/null", str(tmp_path / "lib")], check=True, timeout=60
    )
    write(tmp_path, {"/etc/ld.so.cache": cache.read_bytes()})
    found = dict(cached_libraries(Tree(str(tmp_path))))
    assert found["libcusparse.so.12"] == str(tmp_path / "lib" / "libcusparse.so.12")


def test_libraries_of_another_machine_do_not_count(tmp_path: Path) -> None:
    mine, other = [("libcuda.so.1", "/a/libcuda.so.1")], [("libcuda.so.1", "/b/libcuda.so.1")]
    write(tmp_path, {"/etc/ld.so.cache": b"ld.so-1.7.0" + bytes(5) + loader_cache(mine, foreign=other)})
    assert cached_libraries(Tree(str(tmp_path)), "x86_64") == mine
    assert cached_libraries(Tree(str(tmp_path)), "aarch64") == other
    assert cached_libraries(Tree(str(tmp_path)), "riscv64") == mine + other


@pytest.mark.parametrize("content", [b"", b"junk", loader_cache([("libcuda.so.1", "/a")])[:60]])
def test_a_broken_cache_of_the_loader_is_unknown(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, {"/etc/ld.so.cache": content})
    with pytest.raises(UnknownFact, match=r"ld\.so\.cache is"):
        cached_libraries(Tree(str(tmp_path)))
