# SPDX-License-Identifier: Apache-2.0
"""Files that a fault does not take: not known to be the unit's own, or where they could not be put back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.agent.errors import NoEffect, Refused
from chaosgpu.agent.faults import unit_files_damage, unit_own_files
from chaosgpu.agent.faults.unit_files_damage import UnitFilesDamage
from chaosgpu.agent.faults.unit_files_vanish import UnitFilesVanish
from support.limited import A_PLAIN_USER
from unit.faults.paused_unit import FakeUnit, Files, aside, look, why_not

VANISH, DAMAGE = UnitFilesVanish(), UnitFilesDamage()

if os.getuid() == 0:  # only root may see what others' processes have open

    def test_a_service_of_root_that_works_at_the_top_of_its_file_system_is_refused(
        unit: FakeUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unit_own_files, "mount_of", lambda _: (str(unit.data), "ext4"))
        assert "would not be safe from it" in str(why_not(unit, tmp_path))

    def test_files_that_are_not_the_units_own_are_refused_and_nothing_is_touched(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        data = unit.data
        (data / "link").symlink_to("index.bin")
        (tmp_path / "srv" / "other").mkdir()
        (tmp_path / "srv" / "other" / "index.bin").write_bytes(b"x")
        (tmp_path / "srv" / "also").symlink_to("db")
        (data / "theirs").write_bytes(b"x")
        os.chown(data / "theirs", A_PLAIN_USER, A_PLAIN_USER)
        (data / "two").write_bytes(b"x")
        os.link(data / "two", data / "names")
        (data / "chaosgpu-aside-l9").mkdir()
        (data / "chaosgpu-aside-l9" / "0").write_bytes(b"x")
        for name, sentence in (
            ("gone", "cannot be looked at: No such file"),
            ("link", "leads by a link to"),
            ("../also/index.bin", "leads by a link to"),
            ("../other/index.bin", "is below no folder that db.service works in"),
            ("theirs", f"belongs to user {A_PLAIN_USER} and db.service runs as 0"),
            ("two", "no plain file with one name (2 names)"),
            ("chaosgpu-aside-l9/0", "that another lease has set aside"),
            (Path("..", "..", "home"), "no plain file"),
            ("/etc/passwd", "is below /etc"),
            ("/usr/bin/env", "is below /usr"),
        ):
            path = os.path.normpath(data / name)
            assert sentence in str(why_not(unit, tmp_path, files=[path])), name

    def test_a_file_of_the_agents_own_is_refused(unit: FakeUnit, tmp_path: Path) -> None:
        own = tmp_path / "home" / "leases" / "l1" / "undo"
        own.parent.mkdir(parents=True)
        own.write_bytes(b"x")
        assert f"is below {tmp_path / 'home'}" in str(why_not(unit, tmp_path, files=[str(own)]))

    @pytest.mark.parametrize("way", ["open", "mapped"])
    def test_a_file_that_another_process_has_open_is_refused(way: str, unit: FakeUnit, tmp_path: Path) -> None:
        code = "import mmap, sys\nfile = open(sys.argv[1], 'rb')\n"
        if way == "mapped":
            code += "memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\nfile.close()\n"
        words = [
            sys.executable,
            "-c",
            f"{code}print('has it', flush=True)\nsys.stdin.read()",
            str(unit.data / "index.bin"),
        ]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "has it\n"
            said = str(why_not(unit, tmp_path))
            other.communicate()
        assert f"Others than db.service have its files open (process {other.pid} has" in said

    def test_a_name_of_ours_that_is_taken_is_refused(unit: FakeUnit, tmp_path: Path) -> None:
        aside(unit).parent.mkdir()
        assert "is there already and is not ours" in str(why_not(unit, tmp_path))

    @pytest.mark.parametrize("kind", ["tmpfs", "nfs4", "fuse.sshfs", ""])
    def test_other_file_systems_and_records_in_memory_are_refused(
        kind: str, unit: FakeUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = str(tmp_path / "home")
        monkeypatch.setattr(unit_own_files, "mount_of", lambda path: ("/", "ext4" if path == home else kind))
        assert "on a file system of type" in str(why_not(unit, tmp_path))
        monkeypatch.setattr(unit_own_files, "mount_of", lambda path: ("/", "tmpfs" if path == home else "ext4"))
        assert "after a reboot nobody would know what is aside" in str(why_not(unit, tmp_path))

    def test_a_unit_that_is_down_is_no_effect(unit: FakeUnit, tmp_path: Path) -> None:
        unit.stop()
        unit.asked.clear()
        assert isinstance(why_not(unit, tmp_path), NoEffect)

    def test_copies_without_room_or_too_large_to_wait_for_are_refused(
        unit: FakeUnit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unit_files_damage, "MOST_COPIED", 1000)
        assert "use unit.files.vanish" in str(why_not(unit, tmp_path, DAMAGE, bytes=1))
        monkeypatch.setattr(unit_files_damage, "MOST_COPIED", 1 << 40)
        monkeypatch.setattr(unit_files_damage, "_SPARE", 1 << 60)
        error = why_not(unit, tmp_path, DAMAGE, bytes=1)
        assert isinstance(error, Refused)
        assert "must stay free" in str(error)

    def test_an_empty_file_may_vanish_and_has_no_byte_to_flip(unit: FakeUnit, tmp_path: Path) -> None:
        (unit.data / "links").touch()
        assert "has no byte to flip" in str(why_not(unit, tmp_path, DAMAGE, files=[str(unit.data / "links")], bytes=1))
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path, files=[str(unit.data / "links")]).inject()
        assert list(lease.verify()["files"].values()) == ["missing"]
        assert lease.undo().clean
        assert look(unit) == before
