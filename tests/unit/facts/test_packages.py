# SPDX-License-Identifier: Apache-2.0
"""Packages are read as real dpkg left them, and read again only when dpkg has changed something."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.facts.packages import STATUS, cache_file, installed
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from support.host_tree import write

type Install = Callable[..., None]

_OLD, _NEW = "580.95.05-0ubuntu1", "580.105.08-0ubuntu1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a root with a dpkg of its own that knows no package."""
    root = tmp_path / "root"
    write(root, {STATUS: "", "/var/lib/dpkg/available": ""})
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir()
    return root


@pytest.fixture
def dpkg(root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        forced = "--force-not-root,script-chrootless,bad-path,downgrade"
        command = ["dpkg", f"--root={root}", f"--log={tmp_path / 'log'}", forced, *words]
        return subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def install(
    dpkg: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Build a real package and install it."""

    def run(name: str, version: str, postinst: str = "") -> subprocess.CompletedProcess[str]:
        tree = tmp_path / "built" / f"{name}-{version}"
        write(
            tree,
            {
                "DEBIAN/control": f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
                "Maintainer: nobody <n@example.org>\nDescription: one line\n and one more: with a colon\n"
            },
        )
        if postinst:
            write(tree, {"DEBIAN/postinst": f"#!/bin/sh\n{postinst}\n"})
            (tree / "DEBIAN/postinst").chmod(0o755)
        built = tmp_path / f"{name}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(built)],
            check=True, timeout=60, capture_output=True,
        )  # fmt: skip
        return dpkg("--install", str(built))

    return run


def test_the_packages_of_the_driver_are_read_as_real_dpkg_left_them(
    root: Path, install: Install, dpkg: Callable[..., object]
) -> None:
    install("libnvidia-compute-580", _OLD)
    install("libcudnn9-cuda-12", "9.8.0.87-1")
    install("libnccl2", "2.25.1-1+cuda12.8")
    install("hello", "1.0")
    dpkg("--set-selections", said="libnvidia-compute-580 hold\n")
    found = installed(Tree(str(root)))
    assert found.versions == {
        "libnvidia-compute-580": _OLD, "libcudnn9-cuda-12": "9.8.0.87-1", "libnccl2": "2.25.1-1+cuda12.8",
    }  # fmt: skip
    assert found.holds == ("libnvidia-compute-580",)
    assert found.broken == {}


def test_a_package_that_dpkg_left_half_way_is_seen(root: Path, install: Install) -> None:
    install("nvidia-dkms-580", _OLD, postinst="exit 1")
    found = installed(Tree(str(root)))
    assert found.versions == {"nvidia-dkms-580": _OLD}
    assert found.broken == {"nvidia-dkms-580": "half-configured"}


def test_a_removed_package_is_not_installed(root: Path, install: Install, dpkg: Callable[..., object]) -> None:
    install("libnccl2", "2.25.1-1")
    assert installed(Tree(str(root))).versions == {"libnccl2": "2.25.1-1"}
    dpkg("--remove", "libnccl2")
    assert installed(Tree(str(root))).versions == {}


def test_packages_are_read_once_a_change_of_dpkgs_state(root: Path, install: Install, tmp_path: Path) -> None:
    kept = str(tmp_path / "cache" / "packages.json")
    install("libnvidia-compute-580", _OLD)
    tree, status = Tree(str(root)), root / STATUS.lstrip("/")
    assert installed(tree, kept).versions == {"libnvidia-compute-580": _OLD}
    before = status.stat()
    # Other bytes of the same length under the same time: a reading that does not look into the file does not see them.
    with status.open("r+b") as file:
        changed = file.read().replace(b"580.95.05", b"580.95.06")
        file.seek(0)
        file.write(changed)
    os.utime(status, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert installed(tree, kept).versions == {"libnvidia-compute-580": _OLD}
    install("libnvidia-compute-580", _NEW)
    assert installed(tree, kept).versions == {"libnvidia-compute-580": _NEW}


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"key": 1}', '{"key": null, "versions": []}'])
def test_a_broken_file_of_kept_packages_is_as_good_as_none(
    root: Path, install: Install, tmp_path: Path, text: str
) -> None:
    kept = tmp_path / "packages.json"
    kept.write_text(text)
    install("libnccl2", "2.25.1-1")
    assert installed(Tree(str(root)), str(kept)).versions == {"libnccl2": "2.25.1-1"}


def test_where_packages_cannot_be_kept_they_are_read_all_the_same(root: Path, install: Install) -> None:
    install("libnccl2", "2.25.1-1")
    assert installed(Tree(str(root)), "/proc/no/such/packages.json").versions == {"libnccl2": "2.25.1-1"}


def test_a_host_without_dpkg_or_rpm_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownFact, match="no packages of a known kind"):
        installed(Tree(str(tmp_path)))


def test_an_image_of_a_host_of_rpms_is_unknown_and_never_read_by_what_dpkg_has_left_there(tmp_path: Path) -> None:
    record = "Package: libcuda1\nStatus: install ok installed\nArchitecture: all\nVersion: 535.1-1\n"
    write(tmp_path, {STATUS: record, "/usr/bin/dnf": "", "/usr/bin/rpm": "", "/var/lib/rpm/rpmdb.sqlite": ""})
    with pytest.raises(UnknownFact, match="an image of a host is not read"):
        installed(Tree(str(tmp_path)))
    write(tmp_path, {"/usr/bin/dpkg": "", "/usr/bin/apt-get": ""})
    assert installed(Tree(str(tmp_path))).versions == {"libcuda1": "535.1-1"}


def test_packages_of_another_architecture_are_named_with_it(tmp_path: Path) -> None:
    other = "arm64" if os.uname().machine != "aarch64" else "amd64"
    record = f"Package: libcuda1\nStatus: install ok installed\nArchitecture: {other}\nVersion: 535.1-1\n"
    write(tmp_path, {STATUS: record})
    assert installed(Tree(str(tmp_path))).versions == {f"libcuda1:{other}": "535.1-1"}


def test_packages_are_kept_where_caches_belong() -> None:
    assert cache_file({"CHAOSGPU_AGENT_HOME": "/x"}, 0) == "/x/cache/packages.json"
    assert cache_file({}, 0) == "/var/cache/chaosgpu/packages.json"
    assert cache_file({"HOME": "/h"}, 1000) == "/h/.cache/chaosgpu/packages.json"
    assert cache_file({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, 1000) == "/c/chaosgpu/packages.json"
