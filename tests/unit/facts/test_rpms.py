# SPDX-License-Identifier: Apache-2.0
"""Locks of dnf 4 and dnf 5, and which of the two worlds a host is of. What real rpm tells is in tests/bench."""

from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.facts.dnf5_locks import LOCKS
from chaosgpu.agent.facts.packages import Packages, packages
from chaosgpu.agent.facts.rpms import held_at
from chaosgpu.agent.facts.tree import Tree
from chaosgpu.agent.packages.rpm.locking import PLACE
from chaosgpu.agent.packages.tools import Tools as PackageTools
from chaosgpu.agent.readings.catalogue import Tools, take
from support.host_tree import link, write

_PLUGIN = {PLACE.replace(".list", ".conf"): "[main]\nenabled = 1\n"}
# As dnf 5 writes it, and as its manual shows what a person may write.
_OF_DNF5 = """version = "1.0"

# Added by 'dnf5 versionlock add' command on 2026-11-26 10:30:15
[[packages]]
name = "nvidia-open"  # a person's word
comment = 'by hand'
[[packages.conditions]]
key = "evr"
comparator = "="
value = "3:580.95.05-1.el9"

[[packages]]
name = "nvidia-fabricmanager*"
[[packages.conditions]]
key = "evr"
comparator = "="
value = "0:580.95.05-1"

[[packages]]
name = "*cuda*"
[[packages.conditions]]
key = "evr"
comparator = ">="
value = "3:580"
[[packages.conditions]]
key = "evr"
comparator = "<"
value = "3:581"
"""


def _held(root: Path) -> tuple[list[tuple[str, str]], str]:
    return held_at(Tree(str(root)), PackageTools(str(root), rpm=True))


def test_locks_of_dnf_4_and_of_dnf_5_are_holds_and_a_range_is_none(tmp_path: Path) -> None:
    assert _held(tmp_path) == ([], "")
    write(tmp_path, {LOCKS: _OF_DNF5})
    of_dnf5 = [("nvidia-open", "3:580.95.05-1.el9"), ("nvidia-fabricmanager*", "580.95.05-1")]
    assert _held(tmp_path) == (of_dnf5, "")
    write(tmp_path, {**_PLUGIN, PLACE: "kernel-0:5.14.0-1.el9.*\n"})
    assert _held(tmp_path) == ([("kernel", "5.14.0-1.el9"), *of_dnf5], "")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({LOCKS: '[[packages]]\nname = "x"\nconditions = [{key = "evr"}]\n'}, f"line 3 of {LOCKS} is in no form"),
        ({LOCKS: '[[packages.conditions]]\nkey = "evr"\n'}, f"line 1 of {LOCKS} is in no form"),
        ({f"{LOCKS}/x": ""}, f"{LOCKS} cannot be read (Is a directory)"),
        ({**_PLUGIN, f"{PLACE}/x": ""}, f"{PLACE} cannot be read (Is a directory)"),
    ],
)
def test_locks_that_cannot_be_read_are_unknown(tmp_path: Path, files: dict[str, str], why: str) -> None:
    write(tmp_path, files)
    found, said = _held(tmp_path)
    assert found == []
    assert why in said
    answer = packages(Packages({"nvidia-open": "1-1"}, (), {}, "rpm", said))
    assert (answer.values.get("holds"), answer.unknown) == (None, {"holds": said})


def test_an_image_of_a_host_of_rpms_tells_its_excludes_and_never_those_of_an_apt_that_was_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/usr/bin/dnf-3": "", "/usr/bin/rpm": "", "/var/lib/rpm/rpmdb.sqlite": "",
            "/etc/dnf/dnf.conf": "[main]\nexclude=kernel*\n",
            "/etc/apt/preferences.d/old": "Package: nvidia-open\nPin: version 1\nPin-Priority: 1001\n",
        },
    )  # fmt: skip
    link(tmp_path, "/usr/bin/dnf", "dnf-3")
    tools = Tools(ForkedDriver({}), SystemClock())
    found = take("fleet.facts", {"root": str(tmp_path), "sections": ["packages", "apt"]}, tools)
    pins = [{"package": "kernel*", "pin": "excluded", "file": "/etc/dnf/dnf.conf"}]
    assert found.values["apt"] == {"pins": pins, "unattended_upgrades": False, "blacklist": []}
    assert "in an image of a host is not read" in str(found.unknown["packages.installed"])
