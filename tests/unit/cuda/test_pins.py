# SPDX-License-Identifier: Apache-2.0
"""The pins of a lock file hold real apt at the locked version, and there is no pin for nothing."""

import subprocess
from pathlib import Path

import pytest

from chaosgpu.cuda.pins import pins_of
from chaosgpu.errors import BadArgument

_OLD, _NEW = "580.95.05-0ubuntu1", "590.44.01-0ubuntu1"


def _run(*words: str, within_s: float = 60) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=within_s, check=True).stdout


def _package(folder: Path, name: str, version: str) -> None:
    """Build a real, empty package."""
    tree = folder / f"{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: x\n"
    )
    _run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(folder / f"{name}_{version}_all.deb"))


def _apt(root: Path, repository: Path) -> list[str]:
    """Make an apt of its own, which knows this repository and nothing of the machine's."""
    for name in ("lists/partial", "archives/partial", "etc/preferences.d", "state"):
        (root / name).mkdir(parents=True)
    (root / "state" / "status").touch()
    (root / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    settings = {
        "Dir::State": root / "state", "Dir::State::status": root / "state" / "status",
        "Dir::State::lists": root / "lists", "Dir::Cache": root, "Dir::Etc": root / "etc",
        "Dir::Etc::parts": root / "none", "Dir::Etc::sourceparts": root / "none",
        "Dir::Etc::preferencesparts": root / "etc" / "preferences.d", "APT::Sandbox::User": "root",
    }  # fmt: skip
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _candidate(settings: list[str], name: str) -> str:
    [line] = [line for line in _run("apt-cache", *settings, "policy", name).splitlines() if "Candidate:" in line]
    return line.partition(": ")[2].strip()


def test_a_pin_of_the_lock_holds_real_apt_at_the_locked_version(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    for version in (_OLD, _NEW):
        _package(repository, "libnvidia-compute-580", version)
    (repository / "Packages").write_text(
        _run("dpkg-scanpackages", "--multiversion", str(repository)).replace(f"{repository}/", "./")
    )
    settings = _apt(tmp_path / "apt", repository)
    _run("apt-get", *settings, "update")
    assert _candidate(settings, "libnvidia-compute-580") == _NEW
    pins = pins_of({"packages.libnvidia-compute-580": _OLD, "kernel.release": "x"})
    (tmp_path / "apt" / "etc" / "preferences.d" / "00-chaosgpu").write_text(pins.preferences)
    assert _candidate(settings, "libnvidia-compute-580") == _OLD
    assert pins.holds == ("libnvidia-compute-580",)


def test_packages_of_one_version_are_one_record() -> None:
    pins = pins_of({"packages.b": "1", "packages.a": "1", "packages.c": "2"})
    assert "Package: a b\nPin: version 1\n" in pins.preferences
    assert pins.preferences.count("Pin-Priority: 1001") == 2


def test_the_drivers_own_packages_are_pinned_where_the_lock_names_them() -> None:
    pins = pins_of({"driver.package_name": "libcuda1", "driver.package": "535.261.03-1", "driver.module": "535.261.03"})
    assert "Package: libcuda1\nPin: version 535.261.03-1\n" in pins.preferences
    assert pins.holds == ("libcuda1",)


def test_a_lock_without_packages_has_nothing_to_pin() -> None:
    with pytest.raises(BadArgument, match="nothing to pin"):
        pins_of({"driver.module": "580.95.05"})
