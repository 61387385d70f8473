# SPDX-License-Identifier: Apache-2.0
"""disk.fill on real file systems in small images: what the service sees, what is refused, and what is never touched."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import AgentError, Forbidden, NoEffect, Refused, Unverified
from chaosgpu.agent.faults import fill_file
from chaosgpu.agent.faults.contract import Context, Restored
from chaosgpu.agent.faults.disk_fill import DiskFill
from chaosgpu.agent.faults.disk_level import DiskParams
from chaosgpu.agent.faults.file_system import MIB, space_of
from chaosgpu.agent.values import JsonObject, JsonValue
from crash import disk_world
from support import small_disk
from support.limited import A_PLAIN_USER, AS_A_PLAIN_USER
from unit.faults.rig import Hurried, refusal

FAULT = DiskFill()
FOLDER: JsonObject = {"folder": "/srv/db"}
BAD: list[tuple[JsonObject, str]] = [
    ({}, "folder must be a text"),
    ({**FOLDER}, "either used_percent or leave_free_mib"),
    ({**FOLDER, "used_percent": 90, "leave_free_mib": 1}, "either used_percent or leave_free_mib"),
    ({**FOLDER, "used_percent": 0}, "used_percent must be between 1 and 100"),
    ({**FOLDER, "used_percent": 101}, "used_percent must be between 1 and 100"),
    ({**FOLDER, "used_percent": "90"}, "used_percent must be a number"),
    ({**FOLDER, "leave_free_mib": -1}, "leave_free_mib must be between 0"),
    ({**FOLDER, "leave_free_mib": 0.5}, "leave_free_mib must be a whole number"),
    ({**FOLDER, "leave_free_mib": 0, "tolerance_mib": 0}, "tolerance_mib must be between 1"),
    ({**FOLDER, "leave_free_mib": 0, "take_reserved": 1}, "take_reserved must be true or false"),
    ({**FOLDER, "leave_free_mib": 0, "allow_root": "yes"}, "allow_root must be true or false"),
    ({**FOLDER, "leave_free_mib": 0, "allow_memory": 1}, "allow_memory must be true or false"),
    ({"folder": "srv/db", "leave_free_mib": 0}, "folder must be an absolute path"),
    ({"folder": "/srv/../db", "leave_free_mib": 0}, "folder must be an absolute path"),
    ({"folder": "/srv//db", "leave_free_mib": 0}, "folder must be an absolute path"),
    ({"folder": "//srv/db", "leave_free_mib": 0}, "folder must be an absolute path"),
    ({"folder": "/srv/db/", "leave_free_mib": 0}, "folder must be an absolute path"),
    ({"folder": "/srv/d\0b", "leave_free_mib": 0}, "folder must be a path that can be printed"),
]


@pytest.mark.parametrize(("raw", "sentence"), BAD, ids=[str(raw) for raw, _ in BAD])
def test_a_bad_value_is_refused_with_a_sentence(raw: JsonObject, sentence: str) -> None:
    said = refusal("disk.fill", raw)
    assert sentence in said
    assert said.endswith(".")


class _NoDriver:
    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        raise AssertionError((name, arguments))


@dataclass(frozen=True)
class Lease:
    """One lease on a disk, whose steps are called one by one."""

    disk: Path
    context: Context
    params: DiskParams
    prior: JsonObject

    @property
    def file(self) -> Path:
        return self.disk / "chaosgpu-fill-l1" / "fill"

    def inject(self) -> "Lease":
        FAULT.inject(self.params, self.prior, self.context)
        return self

    def verify(self) -> JsonObject:
        return FAULT.verify(self.params, self.prior, None, replace(self.context, clock=Hurried(self.context.clock)))

    def undo(self) -> Restored:
        FAULT.undo(self.params, self.prior, self.context)
        return self.restored()

    def restored(self) -> Restored:
        return FAULT.restored(self.params, self.prior, None, self.context)

    def free_mib(self) -> int:
        return space_of(str(self.disk)).free_for_users // MIB


def context_in(tmp_path: Path) -> Context:
    folder = tmp_path / "home" / "leases" / "l1"
    folder.mkdir(parents=True, exist_ok=True)
    return Context(_NoDriver(), SystemClock(), str(folder))


def lease_on(disk: Path, tmp_path: Path, **level: JsonValue) -> Lease:
    context = context_in(tmp_path)
    params = FAULT.parse({"folder": str(disk), **(level or {"leave_free_mib": 4})})
    FAULT.check(params, context)
    return Lease(disk, context, params, FAULT.capture(params, context))


def why_not(folder: Path | str, context: Context, **more: JsonValue) -> AgentError:
    params = FAULT.parse({"folder": str(folder), "leave_free_mib": 1, **more})
    try:
        FAULT.claims(params, context)
        FAULT.check(params, context)
    except AgentError as error:
        return error
    raise AssertionError(f"{folder} was not refused")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_no_folder_or_leads_elsewhere_or_does_not_bear_a_file_is_refused(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    for folder, sentence in (
        (tmp_path / "file", "is no folder"),
        (tmp_path / "gone", "cannot be looked at: No such file"),
        (tmp_path / "link", f"leads by a link to {tmp_path / 'home'}: name that"),
        ("/proc/sys", "of type proc"),
    ):
        assert sentence in str(why_not(folder, context))


def test_the_file_system_of_the_leases_is_refused_whatever_is_allowed(tmp_path: Path) -> None:
    error = why_not(tmp_path, context_in(tmp_path), allow_root=True, allow_memory=True)
    assert "on which the agent keeps its leases" in str(error)
    assert isinstance(error, Refused)


if os.getuid() == 0:  # only root may mount; what is above is proved on any user's machine

    @pytest.fixture
    def disk(tmp_path: Path) -> Iterator[Path]:
        """Give the test a small ext4; it may be unmounted and mounted again."""
        with small_disk.small_disk(tmp_path / "disk") as point:
            (point / "data").mkdir(mode=0o777)
            (point / "data").chmod(0o777)
            yield point

    def write_as(user: int, folder: Path, kib: int) -> str:
        """Write so much as this user, and return what came of it."""
        code = (
            "import os, sys\n"
            "try:\n"
            "    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
            "    done = os.write(file, bytes(int(sys.argv[2])))\n"
            "    os.fsync(file)\n"
            "    print('wrote' if done == int(sys.argv[2]) else 'wrote less')\n"
            "except OSError as error:\n"
            "    print(error.strerror)\n"
        )
        become = AS_A_PLAIN_USER if user else ()
        words = [*become, sys.executable, "-c", code, str(folder / f"by-{user}"), str(kib << 10)]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    @pytest.mark.parametrize("kind", ["ext4", "ext2"])
    def test_a_service_that_is_not_root_has_no_room_and_root_has_what_is_kept_for_it(kind: str, tmp_path: Path) -> None:
        with small_disk.small_disk(tmp_path / "disk", kind, mib=24) as disk:
            (disk / "data").mkdir()
            (disk / "data").chmod(0o777)
            assert write_as(A_PLAIN_USER, disk / "data", 512) == "wrote"
            (disk / "data" / f"by-{A_PLAIN_USER}").unlink()
            lease = lease_on(disk, tmp_path, leave_free_mib=0)
            before = (names(disk), lease.free_mib())
            observed: Any = lease.inject().verify()
            assert (observed["free_mib"], observed["used_percent"], observed["kind"]) == (0, 100.0, kind)
            assert observed["free_for_root_mib"] >= 1
            assert write_as(A_PLAIN_USER, disk / "data", 512) in ("No space left on device", "wrote less")
            assert write_as(0, disk / "data", 512) == "wrote"
            (disk / "data" / "by-0").unlink()
            (disk / "data" / f"by-{A_PLAIN_USER}").unlink(missing_ok=True)
            assert lease.undo() == lease.undo()
            assert lease.undo().clean
            assert lease.undo().left_alone == ()
            assert (names(disk), lease.free_mib()) == before
            assert write_as(A_PLAIN_USER, disk / "data", 512) == "wrote"

    def test_with_what_is_kept_for_root_a_service_of_root_has_no_room_either(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path, leave_free_mib=0, take_reserved=True).inject()
        assert lease.verify()["free_mib"] == 0
        assert write_as(0, disk / "data", 4096) in ("No space left on device", "wrote less")
        (disk / "data" / "by-0").unlink()
        assert lease.undo().clean

    @pytest.mark.parametrize("level", [{"used_percent": 70}, {"leave_free_mib": 20}])
    def test_the_level_is_as_df_has_it(level: dict[str, JsonValue], disk: Path, tmp_path: Path) -> None:
        observed: Any = lease_on(disk, tmp_path, **level).inject().verify()
        words = subprocess.run(
            ["df", "-BM", "--output=pcent,avail", str(disk)], capture_output=True, text=True, check=True, timeout=10
        ).stdout.split()[2:]
        assert abs(float(words[0].rstrip("%")) - observed["used_percent"]) <= 1
        assert abs(int(words[1].rstrip("M")) - observed["free_mib"]) <= 1
        if "used_percent" in level:
            assert abs(observed["used_percent"] - 70) < 1
        else:
            assert observed["free_mib"] in (19, 20)

    def test_what_must_not_be_filled_is_refused(disk: Path, tmp_path: Path) -> None:
        context = context_in(tmp_path)
        elsewhere = replace(context, lease_dir=str(disk / "leases" / "l1"))
        assert "root file system" in str(why_not(tmp_path, elsewhere))
        assert "keeps its leases" in str(why_not(disk / "data", elsewhere))
        assert "is as full already" in str(why_not(disk, context, leave_free_mib=1 << 20))
        assert isinstance(why_not(disk, context, used_percent=1, leave_free_mib=None), NoEffect)
        limited = replace(context, limited_to_home=str(tmp_path / "lab" / "home"))
        assert isinstance(why_not(disk, limited), Forbidden)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=10)
        assert "mounted read-only" in str(why_not(disk, context))
        assert names(disk) == ["data", "lost+found"]

    def test_memory_is_filled_only_if_that_is_said(tmp_path: Path) -> None:
        point = tmp_path / "memory"
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(point)], check=True, timeout=10)
        try:
            assert "which is the host's memory" in str(why_not(point, context_in(tmp_path)))
            assert "keeps nothing for root" in str(
                why_not(point, context_in(tmp_path), allow_memory=True, take_reserved=True)
            )
            lease = lease_on(point, tmp_path, leave_free_mib=2, allow_memory=True).inject()
            assert lease.verify()["kind"] == "tmpfs"
            assert lease.undo().clean
            assert names(point) == []
        finally:
            small_disk.unmount(point)

    def test_a_folder_of_its_name_is_never_taken_for_ours(disk: Path, tmp_path: Path) -> None:
        (disk / "chaosgpu-fill-l1").mkdir()
        (disk / "chaosgpu-fill-l1" / "fill").write_text("somebody's")
        with pytest.raises(Refused, match="is there already and is not ours"):
            lease_on(disk, tmp_path)
        assert (disk / "chaosgpu-fill-l1" / "fill").read_text() == "somebody's"

    def test_a_file_in_its_place_that_was_never_noted_is_not_removed(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path)
        lease.file.parent.mkdir()
        lease.file.write_text("somebody's")
        restored = lease.undo()
        assert lease.file.read_text() == "somebody's"
        assert restored.clean
        assert "is not ours, and stays" in restored.left_alone[0]

    @pytest.mark.parametrize("steps", [0, 1, 2, 3])
    def test_one_who_died_before_the_file_was_noted_has_left_nothing_that_stays(
        steps: int, disk: Path, tmp_path: Path
    ) -> None:
        lease = lease_on(disk, tmp_path)
        begun = b"chaosgpu-fill-l1: a disk"
        for step in (lease.file.parent.mkdir, lease.file.touch, lambda: lease.file.write_bytes(begun))[:steps]:
            step()
        assert lease.undo() == Restored(clean=True, values=lease.restored().values)
        assert names(disk) == ["data", "lost+found"]

    def test_what_somebody_has_deleted_is_told(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        lease.file.unlink()
        lease.file.parent.rmdir()
        with pytest.raises(Unverified, match="is not there, or is not ours"):
            lease.verify()
        assert lease.undo().left_alone == (f"{lease.file} was deleted by somebody meanwhile",)
        assert lease.undo().clean

    def test_what_somebody_has_moved_is_found_and_emptied(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        (disk / "data" / "deep").mkdir()
        lease.file.rename(disk / "data" / "deep" / "old-backup")
        restored = lease.undo()
        assert restored.clean
        assert restored.left_alone == (f"{lease.file} was moved by somebody meanwhile",)
        assert names(disk / "data" / "deep") == []
        assert lease.free_mib() > 40

    def test_not_found_is_not_clean_where_nobody_could_look_everywhere(
        disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = lease_on(disk, tmp_path).inject()
        lease.file.rename(disk / "data" / "old-backup")
        monkeypatch.setattr(fill_file, "find_inode", lambda *_: (None, False))
        restored = lease.undo()
        assert not restored.clean
        assert f"find {disk} -xdev -inum {(disk / 'data' / 'old-backup').stat().st_ino}" in restored.by_hand
        (disk / "data" / "old-backup").unlink()
        assert lease.undo().clean

    def test_another_file_in_its_place_and_others_in_its_folder_stay(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        lease.file.unlink()
        lease.file.write_text("somebody's")
        assert lease.file.stat().st_ino == fill_noted(lease)  # ext4 gives a number again at once
        (lease.file.parent / "notes").write_text("mine")
        restored = lease.undo()
        assert restored.clean
        assert restored.left_alone == (
            f"{lease.file} was deleted by somebody meanwhile",
            f"{lease.file.parent} has something in it that is not ours, and stays",
        )
        assert lease.file.read_text() == "somebody's"
        assert (lease.file.parent / "notes").read_text() == "mine"

    def test_a_link_in_the_place_of_its_folder_is_not_followed(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        lease.file.parent.rename(disk / "data" / "moved")
        (disk / "other").mkdir()
        (disk / "other" / "fill").write_text("somebody's")
        lease.file.parent.symlink_to(disk / "other")
        restored = lease.undo()
        assert restored.clean, restored
        assert (disk / "other" / "fill").read_text() == "somebody's"
        assert lease.free_mib() > 40

    def test_the_room_is_back_though_somebody_has_it_open_and_a_second_name_for_it(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        (disk / "data" / "second").hardlink_to(lease.file)
        with lease.file.open("rb"):
            assert lease.undo().clean
            assert lease.free_mib() > 40
        assert (disk / "data" / "second").stat().st_size < 4096

    def test_a_file_system_that_is_not_mounted_any_more_is_stuck_until_it_is(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        small_disk.unmount(disk)
        restored = lease.undo()
        assert not restored.clean
        assert f"is not mounted at {disk} now: mount it there, then undo again" in restored.by_hand
        small_disk.mount(disk.with_suffix(".img"), disk)
        assert lease.undo().clean
        assert names(disk) == ["data", "lost+found"]

    def test_a_file_system_that_lets_nothing_be_removed_is_a_sentence(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path).inject()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=10)
        with pytest.raises(AgentError, match=r"cannot be removed: Read-only file system\. Make its file system"):
            lease.undo()
        assert not lease.restored().clean
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True, timeout=10)
        assert lease.undo().clean

    def test_what_others_free_is_seen_and_what_they_take_is_no_matter(disk: Path, tmp_path: Path) -> None:
        (disk / "data" / "theirs").write_bytes(bytes(16 * MIB))
        lease = lease_on(disk, tmp_path).inject()
        assert lease.verify()
        (disk / "data" / "more").write_bytes(bytes(2 * MIB))
        assert lease.verify()
        (disk / "data" / "theirs").unlink()
        with pytest.raises(Unverified, match="others may have freed some"):
            lease.verify()
        assert lease.undo().clean

    def test_a_file_that_takes_nothing_is_not_taken_for_a_full_disk(disk: Path, tmp_path: Path) -> None:
        lease = lease_on(disk, tmp_path)
        assert lease.context.lease_dir is not None
        os.close(fill_file.FillFile.from_json(_mapping(lease.prior["file"])).make(lease.context.lease_dir))
        (disk / "data" / "theirs").write_bytes(bytes(48 * MIB))  # as full as was asked for, and not by us
        with pytest.raises(Unverified, match="so nothing is taken by us"):
            lease.verify()
        assert lease.undo().clean

    def test_one_device_is_one_claim_whichever_folder_is_named(disk: Path, tmp_path: Path) -> None:
        context = context_in(tmp_path)
        named = [FAULT.parse({"folder": str(one), "leave_free_mib": 0}) for one in (disk, disk / "data")]
        assert len({FAULT.claims(one, context) for one in named}) == 1

    def test_the_agent_puts_it_in_once_and_gives_the_room_back_by_whatever_undo(tmp_path: Path) -> None:
        host = disk_world.build(tmp_path)
        try:
            host.renew()
            first: Any = host.ask("apply", {**host.order(), "ttl_s": 60})
            assert first.get("state") == "active", first
            assert first["observed"]["free_mib"] == 0
            second: Any = host.ask("apply", {**host.order(), "ttl_s": 60, "lease": "second"})
            assert second["error"]["kind"] == "claimed", second
            listed: Any = host.ask("list", {"protocol": 1, "verify": True})
            assert [lease["state"] for lease in listed["leases"]] == ["active"]
            assert host.changed()
            for _ in range(2):
                undone: Any = host.ask("undo", {"protocol": 1, "lease": host.lease})
                assert [(lease["state"], lease["left_alone"]) for lease in undone["leases"]] == [("clean", [])]
            assert not host.changed()
        finally:
            host.end()

    def fill_noted(lease: Lease) -> int:
        noted = fill_file.FillFile.from_json(_mapping(lease.prior["file"])).noted(lease.context.lease_dir)
        assert noted is not None
        return noted.inode

    def _mapping(value: JsonValue) -> JsonObject:
        assert isinstance(value, dict)
        return value
