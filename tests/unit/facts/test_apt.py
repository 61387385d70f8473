# SPDX-License-Identifier: Apache-2.0
"""Pins and unattended upgrades are read in every form that apt takes."""

import subprocess
from pathlib import Path

import pytest

from chaosgpu.agent.facts.apt import apt, settings
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree
from support.host_tree import write

_WITH = Packages({"unattended-upgrades": "2.9"}, (), {})
_WITHOUT = Packages({}, (), {})
_FORMS = """\
// a comment; "not a setting"
# another one
APT::Periodic::Unattended-Upgrade "1";
/* APT::Periodic::Unattended-Upgrade "0"; */
Unattended-Upgrade::Package-Blacklist {
    "nvidia-";   // each with its own line
    "libcuda";
};
Acquire { Retries "3"; http { Timeout 10; }; };
DPkg::Post-Invoke:: "echo {done}; true";
"""


def test_pins_that_may_concern_the_driver_are_read_and_others_are_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/etc/apt/preferences": "Explanation: ours\nPackage: *\nPin: release a=stable\nPin-Priority: 900\n",
            "/etc/apt/preferences.d/nvidia": "# by hand\nPackage: src:*nvidia*:any src:cuda-drivers:any\n"
            "Pin: version 580.95.05-0ubuntu1\nPin-Priority: 1000\n\n"
            "Package: firefox\nPin: version 1\nPin-Priority: 1\n",
            "/etc/apt/preferences.d/cuda.pref": "Package: cuda-toolkit-12-9\nPin: version 12.9*\nPin-Priority: 600\n",
            "/etc/apt/preferences.d/old.save": "Package: nvidia-old\nPin: version 1\nPin-Priority: 1\n",
        },
    )
    found = apt(Tree(str(tmp_path)), _WITH)
    pins = found.values["pins"]
    assert isinstance(pins, list)
    assert [(pin["package"], pin["pin"], pin["priority"]) for pin in pins if isinstance(pin, dict)] == [
        ("*", "release a=stable", "900"),
        ("cuda-toolkit-12-9", "version 12.9*", "600"),
        ("src:*nvidia*:any src:cuda-drivers:any", "version 580.95.05-0ubuntu1", "1000"),
    ]


@pytest.mark.parametrize(
    ("text", "packages", "due"),
    [
        ('APT::Periodic::Unattended-Upgrade "1";', _WITH, True),
        ('APT { Periodic { Unattended-Upgrade "1"; }; };', _WITH, True),
        ('APT::Periodic { Unattended-Upgrade "7"; };', _WITH, True),
        ('APT::Periodic::Unattended-Upgrade "0";', _WITH, False),
        ('APT::Periodic::Unattended-Upgrade "1";', _WITHOUT, False),
        ('APT::Periodic::Unattended-Upgrade "1";\nAPT::Periodic::Unattended-Upgrade "0";', _WITH, False),
        ("", _WITH, False),
    ],
)
def test_unattended_upgrades_are_on_or_off(tmp_path: Path, text: str, packages: Packages, due: bool) -> None:
    write(tmp_path, {"/etc/apt/apt.conf.d/20auto-upgrades": text})
    assert apt(Tree(str(tmp_path)), packages).values["unattended_upgrades"] is due


def test_whether_they_are_on_is_unknown_where_packages_are(tmp_path: Path) -> None:
    write(tmp_path, {"/etc/apt/apt.conf.d/20auto-upgrades": 'APT::Periodic::Unattended-Upgrade "1";'})
    assert "unattended_upgrades" in apt(Tree(str(tmp_path)), None).unknown


def test_settings_are_read_as_real_apt_reads_them(tmp_path: Path) -> None:
    write(tmp_path, {"/etc/apt/apt.conf.d/50x": _FORMS})
    mine = settings(Tree(str(tmp_path)))
    said = subprocess.run(
        ["apt-config", "-o", "Dir::Etc::main=/dev/null", "-o", "Dir::Etc::parts=/dev/null",
         "-c", str(tmp_path / "etc/apt/apt.conf.d/50x"), "dump"],
        capture_output=True, text=True, timeout=30, check=True,
    ).stdout  # fmt: skip
    theirs: dict[str, list[str]] = {}
    for line in said.splitlines():
        name, _, value = line.partition(" ")
        theirs.setdefault(name.rstrip(":").lower(), []).append(value.strip('";'))
    assert mine
    for name, values in mine.items():
        assert [value for value in theirs[name] if value][-len(values) :] == values, name
    assert mine["unattended-upgrade::package-blacklist"] == ["nvidia-", "libcuda"]


def test_a_host_without_apt_is_unknown_in_every_value(tmp_path: Path) -> None:
    found = apt(Tree(str(tmp_path)), None)
    assert found.values == {}
    assert set(found.unknown) == {"pins", "unattended_upgrades", "blacklist"}
