# SPDX-License-Identifier: Apache-2.0
"""The locks of a host of RPM packages, and whose packages a host has. Real dnf takes them in tests/bench."""

from pathlib import Path

import pytest

from chaosgpu.agent.packages.rpm.locking import PLACE, locked, text_with
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.cuda.flat import Value
from chaosgpu.cuda.manager import manager_of
from chaosgpu.cuda.versionlocks import VERSIONLOCK, version_locks_of
from chaosgpu.errors import BadArgument

_DUE: dict[str, Value] = {
    "packages.nvidia-open": "3:580.95.05-1.el9",
    "packages.nvidia-fabricmanager": "580.95.05-1",
    "packages.kernel-core": "5.14.0-427.el9 5.14.0-503.el9",
    "packages.nvidia-driver-libs": "3:580.95.05-1.el9",
    "packages.nvidia-driver-libs.i686": "3:580.95.05-1.el9",
    "driver.package_name": "nvidia-driver-cuda-libs",
    "driver.package": "3:580.95.05-1.el9",
    "driver.module": "580.95.05",
}


def test_a_lock_names_each_package_with_its_epoch_in_every_version_and_for_every_architecture() -> None:
    locks = version_locks_of(_DUE)
    assert locks.lines == (
        "kernel-core-0:5.14.0-427.el9.*",
        "kernel-core-0:5.14.0-503.el9.*",
        "nvidia-driver-cuda-libs-3:580.95.05-1.el9.*",
        "nvidia-driver-libs-3:580.95.05-1.el9.*",
        "nvidia-fabricmanager-0:580.95.05-1.*",
        "nvidia-open-3:580.95.05-1.el9.*",
    )
    assert locks.command[:4] == ("dnf", "versionlock", "add", "kernel-core-5.14.0-427.el9")
    assert "nvidia-fabricmanager-580.95.05-1" in locks.specs  # dnf finds the epoch of what is installed


def test_the_lines_are_those_that_the_agent_reads_and_writes(tmp_path: Path) -> None:
    tools = Tools(str(tmp_path), rpm=True)
    tools.path(PLACE).parent.mkdir(parents=True)
    tools.path(PLACE).with_suffix(".conf").write_text("[main]\nenabled = 1\n")
    tools.path(PLACE).write_text(version_locks_of(_DUE).text)
    found = locked(tools)
    assert found["nvidia-open"] == {"3:580.95.05-1.el9"}
    assert found["kernel-core"] == {"5.14.0-427.el9", "5.14.0-503.el9"}
    assert set(version_locks_of(_DUE).lines) >= {
        line for line in text_with(tools, {"nvidia-open": "3:580.95.05-1.el9"}).splitlines() if "open" in line
    }
    assert VERSIONLOCK == PLACE


@pytest.mark.parametrize("version", ["580.95.05", "", "3:580", "a b-1", "1:2:3-1"])
def test_what_is_no_version_of_an_rpm_package_is_an_error(version: str) -> None:
    with pytest.raises(BadArgument, match=r"nvidia-open at .*no version of an RPM package"):
        version_locks_of({"packages.nvidia-open": version})


def test_a_lock_without_packages_has_nothing_to_lock() -> None:
    with pytest.raises(BadArgument, match="nothing to pin"):
        version_locks_of({"driver.module": "580.95.05"})


@pytest.mark.parametrize(
    ("due", "name", "why"),
    [
        ({"kernel.distribution": "rocky 9.4", "packages.a": "1-1"}, "dnf", "kernel.distribution rocky 9.4"),
        ({"kernel.distribution": "ubuntu 24.04", "packages.a": "1-1.el9"}, "apt", "kernel.distribution ubuntu 24.04"),
        ({"packages.nvidia-open": "3:580-1.el9_4"}, "dnf", "nvidia-open 3:580-1.el9_4"),
        ({"kernel.distribution": "own 1", "packages.x": "1-2.fc41"}, "dnf", "x 1-2.fc41"),
        (
            {"driver.package_name": "nvidia-driver-cuda-libs", "driver.package": "3:580-1"},
            "dnf",
            "nvidia-driver-cuda-libs",
        ),
        ({"packages.libnvidia-compute-580": "580-1"}, "apt", "libnvidia-compute-580 580-1"),
        ({"packages.nvidia-open": "580-0ubuntu1"}, "apt", "of the form of apt's packages"),
        ({"packages.x": "1.2-3+deb12u1"}, "apt", "x 1.2-3+deb12u1"),
    ],
)
def test_whose_packages_a_host_has_is_told_by_its_distribution_or_by_their_form(
    due: dict[str, Value], name: str, why: str
) -> None:
    found = manager_of(due)
    assert (found.name, found.certain) == (name, True)
    assert why in found.why


@pytest.mark.parametrize(
    ("due", "why"),
    [
        ({"packages.libnccl": "2.27.7-1"}, "no distribution that is known and no package of one form"),
        ({"kernel.distribution": "sles 15.6", "packages.libnccl": "2.27.7-1"}, "no distribution that is known"),
        ({"kernel.distribution": "", "packages.libnccl": "2.27.7-1"}, "no distribution that is known"),
        ({"packages.a": "1-1.el9", "packages.b": "1-0ubuntu1"}, "both a 1-1.el9 and b 1-0ubuntu1"),
    ],
)
def test_where_neither_tells_it_is_apt_and_that_is_said(due: dict[str, Value], why: str) -> None:
    found = manager_of(due)
    assert (found.name, found.certain) == ("apt", False)
    assert why in found.why
    assert "lock kernel.distribution" in found.why
