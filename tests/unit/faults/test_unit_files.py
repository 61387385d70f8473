# SPDX-License-Identifier: Apache-2.0
"""Files of a unit that vanish or are damaged, with a real process and a systemctl of ours: there and back."""

import os
from pathlib import Path

import pytest

from chaosgpu.agent.errors import Unanswered, Unverified
from chaosgpu.agent.faults.damaged_copy import flips
from chaosgpu.agent.faults.unit_files_damage import UnitFilesDamage
from chaosgpu.agent.faults.unit_files_vanish import UnitFilesVanish
from chaosgpu.agent.values import JsonObject, JsonValue
from support.limited import A_PLAIN_USER
from unit.faults.paused_unit import UNIT, FakeUnit, Files, aside, look, why_not
from unit.faults.rig import refusal

VANISH, DAMAGE = UnitFilesVanish(), UnitFilesDamage()
ONE: JsonObject = {"unit": UNIT, "files": ["/srv/db/index.bin"]}
BAD: list[tuple[str, JsonObject, str]] = [
    ("unit.files.vanish", {"unit": UNIT}, "files must be a list of 1 to 16"),
    ("unit.files.vanish", {"unit": UNIT, "files": []}, "files must be a list of 1 to 16"),
    ("unit.files.vanish", {"unit": UNIT, "files": "/a"}, "files must be a list of 1 to 16"),
    ("unit.files.vanish", {"unit": UNIT, "files": [f"/{n}" for n in range(17)]}, "files must be a list of 1 to 16"),
    ("unit.files.vanish", {"unit": UNIT, "files": [7]}, "files must be a text"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["srv/db"]}, "files must be absolute paths"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["/srv/../db"]}, "files must be absolute paths"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["/srv//db"]}, "files must be absolute paths"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["/srv/db/"]}, "files must be absolute paths"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["/srv/d\0b"]}, "files must be absolute paths"),
    ("unit.files.vanish", {"unit": UNIT, "files": ["/a", "/a"]}, "files must name each file once"),
    ("unit.files.vanish", {**ONE, "bytes": 1}, "bytes"),
    ("unit.files.vanish", {**ONE, "folders": 1}, "folders must be true or false"),
    ("unit.files.vanish", {**ONE, "unit": "db"}, "whole name of a service"),
    ("unit.files.damage", {**ONE}, "bytes must be"),
    ("unit.files.damage", {**ONE, "bytes": 0}, "bytes must be between 1"),
    ("unit.files.damage", {**ONE, "bytes": 1, "seed": -1}, "seed must be between 0"),
    ("unit.files.damage", {**ONE, "bytes": 1, "back_within_s": 601}, "back_within_s must be between"),
]


@pytest.mark.parametrize(("fault", "raw", "sentence"), BAD, ids=[f"{fault} {raw}" for fault, raw, _ in BAD])
def test_a_bad_value_is_refused_with_a_sentence(fault: str, raw: JsonObject, sentence: str) -> None:
    said = refusal(fault, raw)
    assert sentence in said
    assert said.endswith(".")


def test_the_flipped_places_follow_from_the_seed_and_no_byte_stays_as_it_was() -> None:
    drawn = flips(10_000, 100, 7, 0)
    assert drawn == flips(10_000, 100, 7, 0)
    assert drawn != flips(10_000, 100, 8, 0)
    assert drawn != flips(10_000, 100, 7, 1)
    assert len({place for place, _ in drawn}) == 100
    assert all(0 <= place < 10_000 and 0 < mask < 256 for place, mask in drawn)
    assert [place for place, _ in flips(3, 100, 7, 0)] == [0, 1, 2]


if os.getuid() == 0:  # only root may see what others' processes have open

    def test_a_vanished_index_is_made_anew_empty_and_the_undo_brings_the_very_file_back(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path).inject()
        observed = lease.verify()
        assert (unit.data / "index.bin").read_bytes() == b"empty"
        assert observed["files"] == {str(unit.data / "index.bin"): "another file of the unit's"}
        assert (observed["active_state"], observed["main_pid"]) == ("active", unit.process and unit.process.pid)
        undone = lease.undo()
        assert (undone.clean, undone.left_alone) == (True, ())
        assert undone.values["replaced"] == [str(unit.data / "index.bin")]
        assert "is gone: the original is back" in str(undone.values["note"])
        assert look(unit) == before
        again = lease.undo()
        assert (again.clean, unit.starts) == (True, 3)
        assert look(unit) == before

    def test_a_damaged_copy_differs_in_its_bytes_alone_and_goes_with_the_undo(unit: FakeUnit, tmp_path: Path) -> None:
        index = unit.data / "index.bin"
        os.setxattr(index, "user.label", b"kept")
        os.chown(index, 0, A_PLAIN_USER)
        index.chmod(0o640)
        before, was = look(unit), index.read_bytes()
        stat_before = index.stat()
        lease = Files.of(DAMAGE, unit, tmp_path, bytes=9, seed=3).inject()
        assert lease.verify()["files"] == {str(index): "9 of 9 bytes are as they were flipped"}
        now, found = index.read_bytes(), index.stat()
        assert sum(one != other for one, other in zip(was, now, strict=True)) == 9
        assert found.st_ino != stat_before.st_ino
        for name in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
            assert getattr(found, name) == getattr(stat_before, name), name
        assert os.getxattr(index, "user.label") == b"kept"
        assert aside(unit).read_bytes() == was
        assert lease.undo().clean
        assert look(unit) == before

    def test_a_service_that_does_not_start_without_its_index_is_an_effect_and_is_brought_back(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path)
        unit.starting_fails = True
        observed = lease.inject().verify()
        assert (observed["active_state"], observed["main_pid"]) == ("failed", 0)
        assert list(observed["files"].values()) == ["missing"]
        unit.starting_fails = False
        assert lease.undo().clean
        assert look(unit) == before

    def test_without_the_fault_or_with_its_beginning_alone_the_undo_changes_nothing(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path)
        assert lease.undo().clean
        assert ("stop" in unit.asked, look(unit)) == (False, before)

    def test_one_that_somebody_stopped_stays_down_with_its_own_files(unit: FakeUnit, tmp_path: Path) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path).inject()
        unit.stop()
        undone = lease.undo()
        assert (undone.clean, "was stopped by somebody meanwhile" in undone.left_alone[0]) == (True, True)
        assert look(unit) == {**before, "runs": False}

    def test_a_fault_that_died_after_its_stop_has_the_service_started_again(unit: FakeUnit, tmp_path: Path) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path)
        Path(f"{lease.context.lease_dir}/unit-pause-begun").touch()
        unit.stop()
        assert lease.undo().clean
        assert look(unit) == before

    def test_a_file_that_somebody_put_back_by_hand_is_left_and_told(unit: FakeUnit, tmp_path: Path) -> None:
        lease = Files.of(VANISH, unit, tmp_path).inject()
        starts = unit.starts
        aside(unit).rename(unit.data / "index.bin")
        with pytest.raises(Unverified, match="the original is in place"):
            lease.verify()
        undone = lease.undo()
        assert undone.clean
        assert "was put back by somebody meanwhile; db.service was not restarted" in undone.left_alone[0]
        assert unit.starts == starts

    @pytest.mark.parametrize("how", ["removed", "written", "exchanged", "same size and time"])
    def test_what_is_aside_and_no_longer_the_original_is_never_put_in_place(
        how: str, unit: FakeUnit, tmp_path: Path
    ) -> None:
        lease = Files.of(VANISH, unit, tmp_path).inject()
        kept, lost = aside(unit), tmp_path / "srv" / "kept"
        found, was = kept.stat(), kept.read_bytes()
        if how == "written":
            kept.write_bytes(was + b"more")
        elif how == "same size and time":
            kept.write_bytes(was[:-1] + b"X")
            os.utime(kept, ns=(found.st_atime_ns, found.st_mtime_ns))
        else:
            kept.rename(lost)
            if how == "exchanged":
                kept.write_bytes(was)
        undone = lease.undo()
        assert not undone.clean
        assert "systemctl stop db.service" in undone.by_hand
        assert (unit.data / "index.bin").read_bytes() == b"empty"
        assert unit.process is not None
        # As the sentence says: the original is found and moved to its path.
        (lost if lost.exists() else kept).rename(unit.data / "index.bin")
        kept.unlink(missing_ok=True)
        assert lease.undo().clean

    def test_of_two_files_none_is_put_back_where_one_is_lost(unit: FakeUnit, tmp_path: Path) -> None:
        (unit.data / "links.bin").write_bytes(b"links")
        named: list[JsonValue] = [str(unit.data / name) for name in ("index.bin", "links.bin")]
        lease = Files.of(VANISH, unit, tmp_path, files=named).inject()
        aside(unit, 1).unlink()
        undone = lease.undo()
        assert not undone.clean
        assert "links.bin is not the file that it was" in undone.by_hand
        assert aside(unit).exists()

    def test_a_second_name_of_the_original_goes_and_a_half_made_copy_too(unit: FakeUnit, tmp_path: Path) -> None:
        before = look(unit)
        lease = Files.of(DAMAGE, unit, tmp_path, bytes=9).inject()
        aside(unit).with_name("0.copy").write_bytes(b"half")
        assert lease.undo().clean
        assert look(unit) == before
        aside(unit).parent.mkdir()
        os.link(unit.data / "index.bin", aside(unit))
        assert lease.undo().clean
        assert look(unit) == before

    def test_what_somebody_put_into_our_folder_is_not_removed_and_told(unit: FakeUnit, tmp_path: Path) -> None:
        lease = Files.of(VANISH, unit, tmp_path).inject()
        aside(unit).with_name("theirs").touch()
        undone = lease.undo()
        assert not undone.clean
        assert f"Something lies in {aside(unit).parent}" in undone.by_hand
        aside(unit).with_name("theirs").unlink()
        assert lease.undo().clean

    def test_a_folder_that_the_service_removed_with_its_last_file_is_made_again(unit: FakeUnit, tmp_path: Path) -> None:
        below = unit.data / "segments" / "1"
        below.mkdir(parents=True)
        (below / "vectors").write_bytes(b"vectors")
        os.chown(below, 0, A_PLAIN_USER)
        below.chmod(0o750)
        before, inode = look(unit), (below / "vectors").stat().st_ino
        lease = Files.of(VANISH, unit, tmp_path, files=[str(below / "vectors")]).inject()
        below.rmdir()
        below.parent.rmdir()
        assert lease.verify()
        assert lease.undo().clean
        assert look(unit) == before
        assert (below / "vectors").stat().st_ino == inode
        assert (below.stat().st_mode & 0o7777, below.stat().st_gid) == (0o750, A_PLAIN_USER)

    def test_a_folder_vanishes_with_its_files_and_is_made_again_by_whoever_comes_first(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        below = unit.data / "segment"
        below.mkdir()
        for name in ("vectors", "links"):
            (below / name).write_text(name)
        before, named = look(unit), [str(below / name) for name in ("vectors", "links")]
        error = why_not(unit, tmp_path, files=named[:1], folders=True)
        assert "has others in it than the files that were named (links)" in str(error)
        lease = Files.of(VANISH, unit, tmp_path, files=[*named], folders=True).inject()
        assert set(lease.verify()["files"].values()) == {"missing"}
        assert not below.exists()
        below.mkdir()
        (below / "vectors").write_text("empty")
        assert lease.undo().clean
        assert look(unit) == before
        assert {path.name: path.read_text() for path in below.iterdir()} == {"vectors": "vectors", "links": "links"}

    def test_a_service_that_does_not_stop_is_unverified_and_its_files_are_not_touched(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path)
        unit.stopping_hangs = True
        with pytest.raises(Unverified, match="TimeoutStopSec="):
            lease.inject()
        assert look(unit) == before

    def test_an_undo_that_cannot_stop_the_service_leaves_the_files_aside_for_another_try(
        unit: FakeUnit, tmp_path: Path
    ) -> None:
        before = look(unit)
        lease = Files.of(VANISH, unit, tmp_path).inject()
        unit.stopping_hangs = True
        with pytest.raises(Unanswered, match=r"systemctl kill --signal=KILL db\.service"):
            lease.undo()
        assert aside(unit).exists()
        unit.stopping_hangs = False
        assert lease.undo().clean
        assert look(unit) == before
