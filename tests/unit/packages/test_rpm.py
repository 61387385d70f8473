# SPDX-License-Identifier: Apache-2.0
"""What is read and written where packages are RPM's. What real dnf and rpm do is in tests/bench/test_pin_dnf.py."""

from pathlib import Path

import pytest

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.plan import Change, Plan, refuse_harm, refuse_unfinished
from chaosgpu.agent.packages.rpm import moving
from chaosgpu.agent.packages.rpm.locking import PLACE, locked, open_to, text_with, text_without
from chaosgpu.agent.packages.rpm.status import rows
from chaosgpu.agent.packages.tools import Tools

SITE = """
# Added lock on Thu Nov 26 10:30:15 2026
nvidia-open-3:570.172.08-1.el9.*
# Added lock on Thu Nov 26 10:30:17 2026
nvidia-fabricmanager-0:570.172.08-1.el9.*
!kernel-5.14.0-*
"""


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Give a root with the list of locks of a site."""
    found = Tools(str(tmp_path), rpm=True)
    found.path(PLACE).parent.mkdir(parents=True)
    found.path(PLACE).write_text(SITE)
    found.path(PLACE).with_suffix(".conf").write_text(f"[main]\nenabled = 1\nlocklist = {PLACE}\n")
    return found


def test_a_lock_is_read_as_rpm_spells_the_version_and_what_is_no_lock_of_one_version_is_none(tools: Tools) -> None:
    assert locked(tools) == {"nvidia-open": {"3:570.172.08-1.el9"}, "nvidia-fabricmanager": {"570.172.08-1.el9"}}


def test_new_locks_take_the_place_of_others_of_the_same_packages_and_all_else_stays(tools: Tools) -> None:
    text = text_with(tools, {"nvidia-open": "3:580.95.05-1.el9", "nvidia-driver": "580.95.05-1.el9"})
    assert "nvidia-open-3:570" not in text
    assert "!kernel-5.14.0-*\n" in text
    assert text.splitlines()[-2:] == ["nvidia-driver-0:580.95.05-1.el9.*", "nvidia-open-3:580.95.05-1.el9.*"]
    tools.path(PLACE).write_text(text)
    assert text_with(tools, {"nvidia-open": "3:580.95.05-1.el9", "nvidia-driver": "580.95.05-1.el9"}) == text
    assert locked(tools)["nvidia-fabricmanager"] == {"570.172.08-1.el9"}
    assert text_without(tools, ["nvidia-driver"]) == text.replace("nvidia-driver-0:580.95.05-1.el9.*\n", "")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "install python3-dnf-plugin-versionlock"),
        ("[main]\nenabled = 0\n", "it is turned off"),
        ("[main]\nenabled = 1\nlocklist = /srv/locks\n", "names another list"),
    ],
)
def test_a_host_whose_dnf_heeds_no_lock_is_refused_and_what_is_in_the_list_locks_nothing(
    tools: Tools, said: str | None, why: str
) -> None:
    configuration = tools.path(PLACE).with_suffix(".conf")
    configuration.unlink()
    if said is not None:
        configuration.write_text(said)
    with pytest.raises(Refused, match=why):
        text_with(tools, {"nvidia-open": "1-1"})
    assert locked(tools) == {}


def test_a_second_lock_at_another_version_is_a_gap(tools: Tools) -> None:
    assert open_to("nvidia-open", "3:570.172.08-1.el9", locked(tools)) == []
    assert open_to("nvidia-open", "2-1", {"nvidia-open": {"2-1", "1-1"}}) == [
        "nvidia-open is locked at 1-1 too, so dnf may bring it there"
    ]
    assert open_to("nvidia-driver", "2-1", locked(tools)) == ["nvidia-driver is not locked at 2-1"]


def test_the_way_back_is_first_as_rpm_would_have_it_and_then_with_force() -> None:
    gentle, forced = moving.rungs(["/a.rpm"], ["libnvidia-gpucomp"])
    assert [words[:2] for words in gentle] == [("rpm", "-U"), ("rpm", "-e")]
    assert "--nodeps" not in {word for words in gentle for word in words}
    assert all("--nodeps" in words for words in forced)
    assert moving.rungs([], []) == [[], []]


def test_what_a_killed_rpm_leaves_beside_a_file_goes_and_a_neighbour_with_a_semicolon_stays(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib64"
    place.mkdir(parents=True)
    for name in ("libcuda.so;6746a2b1", "libcuda.so;notes", "libcuda.so", "other;6746a2b1"):
        (place / name).touch()
    moving.remove_beside(Tools(str(tmp_path), rpm=True), ["/usr/lib64/libcuda.so", "/nowhere/x"])
    assert sorted(path.name for path in place.iterdir()) == ["libcuda.so", "libcuda.so;notes", "other;6746a2b1"]


def test_half_done_work_and_vital_packages_are_refused_in_rpms_words() -> None:
    half = Facts({}, frozenset(), ("nvidia-open (in two versions)",), None, manager="rpm")
    with pytest.raises(Refused, match=r"rpm has left work half-done .*dnf check"):
        refuse_unfinished(half)
    for name in ("glibc", "dnf", "rpm-libs", "systemd", "python3-libs", "openssl-libs"):
        with pytest.raises(Refused, match="stand on"):
            refuse_harm(Plan((Change(name, "1-1", "2-1", "upgrade"),)), half, ())
    refuse_harm(Plan((Change("nvidia-open", "1-1", "2-1", "upgrade"),)), half, ())


def test_lines_of_another_form_are_left_out_of_an_answer() -> None:
    assert rows("a\tb\nwarning: something\nc\td\n", 2) == [["a", "b"], ["c", "d"]]
