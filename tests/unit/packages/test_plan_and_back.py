# SPDX-License-Identifier: Apache-2.0
"""Plan, snapshot, change and the way back, with real apt and dpkg in a folder."""

import hashlib
import shutil
from pathlib import Path

import pytest

from chaosgpu.agent.errors import AgentError, Refused, Unanswered
from chaosgpu.agent.packages.change import not_there, put_in
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.plan import plan, refuse_harm
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.snapshot import Snapshot, note_changed_files, take
from support.debs import FIRST, LATER, OLD
from unit.packages.conftest import HOLDS, Root

_PASSING = ("var/log", "var/cache", "var/lib/apt/lists", "tmp/", "etc/apt/sources.list.d")
GPUCOMP = "libnvidia-gpucomp"
WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}


def _tree(root: Root) -> dict[str, str]:
    """Return every file of the root but logs, caches and the lists, with its digest."""
    base = Path(root.tools.root)
    found = {}
    for path in sorted(base.rglob("*")):
        name = str(path.relative_to(base))
        if path.is_file() and not name.startswith(_PASSING):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _snapshot(root: Root, folder: Path, wanted: dict[str, str] | None = None) -> Snapshot:
    found = plan(root.tools, root.facts, WANTED if wanted is None else wanted)
    return take(root.tools, folder, found, root.facts)


def test_a_plan_tells_what_moves_along_and_touches_nothing(root: Root) -> None:
    before = _tree(root)
    found = plan(root.tools, root.facts, WANTED)
    assert {change.name: (change.before, change.after, change.kind) for change in found.changes} == {
        "nvidia-open": (OLD, LATER, "upgrade"),
        "libnvidia-compute": (OLD, LATER, "upgrade"),
        "nvidia-kernel-open": (OLD, LATER, "upgrade"),
        "nvidia-utils": (OLD, LATER, "upgrade"),
        "nvidia-fabricmanager": (OLD, LATER, "upgrade"),
        "libnvidia-gpucomp": (None, LATER, "new"),
        "nvidia-persistenced": (OLD, LATER, "upgrade"),  # of the same source: apt takes it along
    }
    assert _tree(root) == before


def test_a_plan_chooses_the_leaves_of_the_version_that_was_asked_for(root: Root) -> None:
    found = plan(root.tools, root.facts, {"nvidia-open": FIRST})
    assert {change.after for change in found.changes} == {FIRST}


def test_a_version_that_nobody_has_is_refused_with_what_apt_said(root: Root) -> None:
    with pytest.raises(Refused, match=r"Version '590\.1-1' for 'nvidia-open' was not found"):
        plan(root.tools, root.facts, {"nvidia-open": "590.1-1"})


def test_what_would_be_removed_has_to_be_named(root: Root) -> None:
    found = plan(root.tools, root.facts, {"libnvidia-compute": LATER, "nvidia-utils": FIRST})
    assert [change.name for change in found.changes if change.kind == "remove"] == ["nvidia-open"]
    with pytest.raises(Refused, match="apt would remove nvidia-open"):
        refuse_harm(found, root.facts, [])
    refuse_harm(found, root.facts, ["nvidia-open"])


def test_the_way_back_needs_no_repository_and_leaves_no_byte_different(root: Root, tmp_path: Path) -> None:
    before = _tree(root)
    snapshot = _snapshot(root, tmp_path / "kept")
    put_in(root.tools, snapshot, 60)
    assert not_there(root.tools, snapshot) == []
    assert root.versions()["libnvidia-gpucomp"] == LATER
    assert root.facts.held() == {*HOLDS}
    for gone in ("/var/lib/apt/lists", "/etc/apt/sources.list.d"):
        shutil.rmtree(root.tools.path(gone))
    restore(root.tools, snapshot, 60)
    found = judge(root.tools, snapshot)
    assert (found.as_before, found.left_alone, found.by_hand) == (True, (), ""), found
    after = _tree(root)
    # apt writes its marks in another form each time: they are compared parsed, by the judge.
    ignored = {
        "var/lib/apt/extended_states",
        "var/lib/dpkg/status-old",
        "var/lib/dpkg/available",
        "var/lib/dpkg/lock",
        "var/lib/dpkg/lock-frontend",
    }
    changed = {name for name in {*before, *after} - ignored if before.get(name) != after.get(name)}
    assert changed <= {"var/lib/dpkg/info/format", "var/lib/dpkg/triggers/Lock", "var/lib/dpkg/triggers/Unincorp"}
    restore(root.tools, snapshot, 60)
    assert judge(root.tools, snapshot).as_before


def test_without_staged_files_there_is_no_way_back_once_the_repository_is_gone(root: Root) -> None:
    """The control: the order that others use, change first and look for the old files when they are needed."""
    named = [f"{name}={LATER}" for name in ("nvidia-open", "libnvidia-compute", "nvidia-kernel-open", "nvidia-utils")]
    assert root.apt("--allow-change-held-packages", "install", *named).returncode == 0
    root.own_repository()
    shutil.rmtree(root.repository)
    back = root.apt(
        "--allow-downgrades",
        "--allow-change-held-packages",
        "install",
        *(f"{row.partition('=')[0]}={OLD}" for row in named),
    )
    assert back.returncode != 0
    assert root.versions()["nvidia-open"] == LATER


@pytest.mark.parametrize("state", ["half-installed", "half-configured"])
def test_from_each_state_that_dpkg_leaves_it_goes_back(root: Root, tmp_path: Path, state: str) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    new = [str(snapshot.folder / "after" / one.file) for one in snapshot.after.values()]
    unpacked = root.dpkg("--force-depends", "--unpack", *new)
    assert unpacked.returncode == 0, unpacked.stderr
    status = root.tools.admin / "status"
    rows = status.read_text()
    flag = "reinstreq" if state == "half-installed" else "ok"
    status.write_text(rows.replace("install ok unpacked", f"install {flag} {state}"))
    restore(root.tools, snapshot, 60)
    found = judge(root.tools, snapshot)
    assert found.as_before, found
    assert root.facts.unfinished == ()


def test_what_a_killed_dpkg_had_unpacked_and_does_not_own_goes_and_what_is_a_persons_stays(
    root: Root, tmp_path: Path
) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    left, theirs = (
        root.tools.path(f"/usr/lib/nvidia/{name}.so.580.95.05") for name in ("libcuda", "libnvidia-gpucomp")
    )
    left.write_text(f"cuda {LATER}\n")  # as the package has it
    theirs.write_text("by hand\n")
    source = root.tools.path("/usr/src/nvidia-580.95.05")
    source.mkdir()
    restore(root.tools, snapshot, 60)
    found = judge(root.tools, snapshot)
    assert (found.as_before, left.exists(), source.exists(), theirs.read_text()) == (True, False, False, "by hand\n")
    assert [row.partition(" is not what")[0] for row in found.left_alone] == [
        "/usr/lib/nvidia/libnvidia-gpucomp.so.580.95.05"
    ]


def test_what_somebody_brought_to_a_third_version_is_left_alone_and_named(root: Root, tmp_path: Path) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    assert root.dpkg("-i", str(root.repository / f"nvidia-fabricmanager_{FIRST}_amd64.deb")).returncode == 0
    restore(root.tools, snapshot, 60)
    found = judge(root.tools, snapshot)
    assert found.as_before, found
    assert any(f"nvidia-fabricmanager is {FIRST}" in row for row in found.left_alone)
    assert root.versions()["nvidia-fabricmanager"] == FIRST


def test_a_configuration_that_somebody_edited_after_the_change_stays(root: Root, tmp_path: Path) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    ours, edited = (root.tools.path(f"/etc/{name}") for name in ("nvidia/persistenced.conf", "modprobe.d/site.conf"))
    before = ours.read_text()
    ours.write_text("changed by the change\n")
    note_changed_files(root.tools, snapshot)
    edited.write_text("options nvidia mine\n")
    restore(root.tools, snapshot, 60)
    found = judge(root.tools, snapshot)
    assert found.as_before, found
    assert found.left_alone == (
        "/etc/modprobe.d/site.conf was edited by somebody after the change, so it was left alone",
    )
    assert (ours.read_text(), edited.read_text()) == (before, "options nvidia mine\n")


def test_a_file_of_the_driver_that_was_overwritten_meanwhile_comes_back(root: Root, tmp_path: Path) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    library = root.tools.path("/usr/lib/nvidia/libcuda.so.570.172.08")
    library.write_text("another build\n")  # the version is right, the bytes are not
    assert not judge(root.tools, snapshot).as_before
    restore(root.tools, snapshot, 60)
    assert judge(root.tools, snapshot).as_before
    assert library.read_text() == f"cuda {OLD}\n"


def test_a_snapshot_of_what_no_package_file_brings_back_is_refused(root: Root, tmp_path: Path) -> None:
    root.tools.path("/usr/lib/nvidia/libcuda.so.570.172.08").write_text("by hand\n")
    with pytest.raises(Refused, match=r"libcuda\.so\.570\.172\.08 is not as its package has it"):
        _snapshot(root, tmp_path / "kept")


def test_a_package_file_that_nobody_has_any_more_is_refused_before_anything_changes(root: Root, tmp_path: Path) -> None:
    root.own_repository()
    (root.repository / f"nvidia-utils_{OLD}_amd64.deb").unlink()
    before = _tree(root)
    with pytest.raises(Refused, match=f"No package file could be had of nvidia-utils {OLD}"):
        _snapshot(root, tmp_path / "kept")
    assert _tree(root) == before


def test_a_kept_file_that_was_damaged_is_not_installed(root: Root, tmp_path: Path) -> None:
    snapshot = _snapshot(root, tmp_path / "kept")
    assert root.dpkg("--force-depends", "-i", str(root.repository / f"nvidia-utils_{LATER}_amd64.deb")).returncode == 0
    kept = snapshot.folder / "before" / snapshot.before["nvidia-utils"].file
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    with pytest.raises(AgentError, match="is not what was kept there"):
        restore(root.tools, snapshot, 60)
    assert root.versions()["nvidia-utils"] == LATER


def test_a_lock_of_dpkg_is_waited_for_and_never_removed(root: Root, tmp_path: Path) -> None:
    import fcntl  # noqa: PLC0415 (only here)
    import os  # noqa: PLC0415 (as above)

    from chaosgpu.agent.packages.locks import holder, wait_free  # noqa: PLC0415 (as above)

    path = root.tools.admin / "lock-frontend"
    assert holder(root.tools) is None
    child = os.fork()
    if child == 0:
        with path.open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            (tmp_path / "locked").touch()
            import time  # noqa: PLC0415 (as above)

            time.sleep(30)
        os._exit(0)
    while not (tmp_path / "locked").exists():
        pass
    try:
        assert holder(root.tools) == child
        with pytest.raises(Unanswered, match=f"dpkg is locked by process {child}"):
            wait_free(root.tools, 0.3)
        assert path.exists()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    wait_free(root.tools, 0.3)


def test_a_module_that_is_loaded_counts_and_not_the_package(root: Root, tmp_path: Path) -> None:
    shown = root.tools.path("/proc/driver/nvidia/version")
    shown.parent.mkdir(parents=True)
    line = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\n"
    shown.write_text(line.format("570.172.08"))
    snapshot = _snapshot(root, tmp_path / "kept")
    shown.write_text(line.format("580.95.05"))  # as after a reboot while it was changed
    found = judge(root.tools, snapshot)
    assert look(root.tools).module == "580.95.05"
    assert (found.as_before, found.values["reboot_needed"]) == (False, True)
    assert found.by_hand.startswith("reboot needed: the kernel module that runs is 580.95.05, and it was 570.172.08")
    shown.write_text(line.format("570.172.08"))
    assert judge(root.tools, snapshot).as_before
