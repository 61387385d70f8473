# SPDX-License-Identifier: Apache-2.0
"""dpkg's and apt's own records, read as they are written, and compared in one normal form."""

from typing import TYPE_CHECKING

from chaosgpu.agent.packages.fingerprint import differences
from chaosgpu.agent.packages.marks import parse_auto
from chaosgpu.agent.packages.plan import parse_simulation
from chaosgpu.agent.packages.policy import pins
from chaosgpu.agent.packages.status import broken, parse_status

if TYPE_CHECKING:
    from chaosgpu.agent.values import JsonObject

STATUS = """\
Package: nvidia-utils
Status: hold ok installed
Architecture: amd64
Source: nvidia-graphics-drivers (570.172.08)
Version: 570.172.08-1
Conffiles:
 /etc/nvidia/a.conf 0123
 /etc/nvidia/old.conf 4567 obsolete
Description: tools
 more of it

Package: libnvidia-compute
Status: install reinstreq half-installed
Architecture: i386
Version: 580.95.05-1

Package: gone
Status: deinstall ok config-files
Architecture: all
Config-Version: 1.0

Package: nvidia-utils
Status: hold ok half-configured
Architecture: amd64
Version: 580.95.05-1
"""


def test_a_status_file_is_read_and_the_later_entry_counts() -> None:
    found = parse_status(STATUS.rpartition("\n\n")[0], "amd64")
    utils = found["nvidia-utils"]
    assert (utils.version, utils.want, utils.status, utils.source) == (
        "570.172.08-1",
        "hold",
        "installed",
        "nvidia-graphics-drivers",
    )
    assert utils.conffiles == (("/etc/nvidia/a.conf", "0123"),)
    assert found["libnvidia-compute:i386"].flag == "reinstreq"
    assert (found["gone"].version, found["gone"].there) == ("1.0", False)
    later = parse_status(STATUS, "amd64")
    assert later["nvidia-utils"].status == "half-configured"
    assert broken(later) == ["nvidia-utils (ok half-configured)", "libnvidia-compute:i386 (reinstreq half-installed)"]


def test_automatic_marks_are_read_whatever_their_order() -> None:
    marked = (("a", "amd64"), ("b", "i386"))
    rows = [f"Package: {name}\nArchitecture: {kind}\nAuto-Installed: 1\n" for name, kind in marked]
    other = "Package: c\nArchitecture: amd64\nAuto-Installed: 0\n"
    assert parse_auto("\n".join([*rows, other]), "amd64") == {"a", "b:i386"}
    assert parse_auto("\n".join([other, *reversed(rows)]), "amd64") == {"a", "b:i386"}


def test_what_apt_would_do_is_read_line_by_line() -> None:
    said = """\
Reading package lists...
Remv nvidia-old [570.1-1]
Inst nvidia-open [570.1-1] (580.1-1 NVIDIA:1.0/stable [amd64]) []
Inst libnvidia-gpucomp (580.1-1 NVIDIA:1.0/stable [amd64])
Inst libfoo:i386 [2:1.0-1] (2:1.1-1 Debian:12/stable [i386])
Conf nvidia-open (580.1-1 NVIDIA:1.0/stable [amd64])
Purg nvidia-older [1.0]
"""
    assert parse_simulation(said) == {
        "nvidia-old": ("570.1-1", None),
        "nvidia-open": ("570.1-1", "580.1-1"),
        "libnvidia-gpucomp": (None, "580.1-1"),
        "libfoo:i386": ("2:1.0-1", "2:1.1-1"),
        "nvidia-older": ("1.0", None),
    }


def test_pins_name_the_packages_their_source_and_the_rest_of_the_driver() -> None:
    text = pins({"nvidia-open": "580.1-1", "dkms": "3.0"}, {"nvidia-open": "nvidia-graphics-drivers"}, 1001)
    first, second = text.split("\n\n")
    assert first == "Package: dkms\nPin: version 3.0\nPin-Priority: 1001"
    assert second.splitlines()[0] == (
        "Package: nvidia-open src:nvidia-graphics-drivers:any src:*nvidia*:any src:cuda-drivers:any src:cuda-compat:any"
    )


def test_each_difference_is_a_sentence_and_equal_ones_have_none() -> None:
    one: JsonObject = {
        "packages": {"a": "1 hold ok installed"},
        "auto": {},
        "managed": {"/etc/apt/preferences": "file x"},
    }
    other: JsonObject = {"packages": {"a": "2 install ok installed"}, "auto": {"a": "auto"}, "managed": {}}
    assert differences(one, one) == []
    assert differences(one, other) == [
        "packages: a was 1 hold ok installed and is 2 install ok installed",
        "auto: a was absent and is auto",
        "managed: /etc/apt/preferences was file x and is absent",
    ]
