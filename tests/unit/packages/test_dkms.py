# SPDX-License-Identifier: Apache-2.0
"""What DKMS has built: told in a normal form, kept, compared; and scripts of packages that go on by themselves."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaosgpu.agent.packages import dkms, initramfs, locks
from chaosgpu.agent.packages.dkms_stand_in import stand_in
from chaosgpu.agent.packages.files import content_digest
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.plan import plan
from chaosgpu.agent.packages.snapshot import take
from chaosgpu.agent.packages.tools import Tools
from support.agent_host import wait_until
from support.debs import LATER
from unit.packages.conftest import Root

KERNEL = "6.1.0-test"
SOURCES = {"nvidia-570.1": "nvidia-dkms"}
BUILT = f"nvidia/570.1/{KERNEL}/x86_64"


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Give a host on which DKMS has built and installed one module."""
    tools = Tools(str(tmp_path))
    for name, text in {
        f"/var/lib/dkms/{BUILT}/module/nvidia.ko": "module",
        f"/var/lib/dkms/{BUILT}/log/make.log": "made",
        f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko": "module",
        "/usr/src/nvidia-570.1/dkms.conf": "",
    }.items():
        tools.path(name).parent.mkdir(parents=True)
        tools.path(name).write_text(text)
    tools.path("/var/lib/dkms/nvidia/570.1/source").symlink_to("/usr/src/nvidia-570.1")
    tools.path(f"/var/lib/dkms/nvidia/kernel-{KERNEL}-x86_64").symlink_to(f"570.1/{KERNEL}/x86_64")
    return tools


def _kinds(tools: Tools) -> dict[str, str]:
    return {key: said.split(" ")[0] for key, said in dkms.state(tools, SOURCES).items()}


def test_a_module_is_installed_where_the_kernel_finds_it_as_it_was_built_and_else_only_built(tools: Tools) -> None:
    key = f"nvidia-dkms nvidia/570.1 {KERNEL} x86_64"
    assert _kinds(tools) == {"nvidia-dkms nvidia/570.1": "added", key: "installed"}
    installed = tools.path(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko")
    installed.write_text("another")
    assert _kinds(tools)[key] == "built"
    installed.unlink()
    assert _kinds(tools)[key] == "built"


def test_modules_of_other_packages_are_not_looked_at(tools: Tools) -> None:
    assert dkms.state(tools, {"zfs-2.1": "zfs-dkms"}) == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/usr/src/nvidia-570.1/dkms.conf", "nvidia-570.1"),
        ("/usr/src/nvidia-570.1/sub/dkms.conf", ""),
        ("/usr/src/nvidia-570.1/Makefile", ""),
        ("/etc/dkms.conf", ""),
    ],
)
def test_sources_of_dkms_are_known_by_their_description(path: str, source: str) -> None:
    assert dkms.source_of(path) == source


def test_what_was_built_is_kept_with_its_digests_and_a_flipped_byte_is_found(tools: Tools, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    kept = dkms.keep(tools, folder, SOURCES)
    assert set(kept) == {f"{BUILT}/module/nvidia.ko", f"{BUILT}/log/make.log"}
    assert dkms.is_intact(folder, kept)
    assert dkms.installed_files(tools, kept) == [tools.path(f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko")]
    (folder / BUILT / "module/nvidia.ko").write_text("modulf")
    assert not dkms.is_intact(folder, kept)


def test_nothing_stands_before_dkms_in_a_root_that_is_not_this_machines(tools: Tools, tmp_path: Path) -> None:
    assert stand_in(tools, tmp_path / "stand", ["nvidia-580.1"]) == ""
    assert not (tmp_path / "stand").exists()


def test_images_to_boot_from_are_looked_at_where_a_package_has_a_part_in_them_and_made_anew_where_they_differ() -> None:
    assert initramfs.concerns(["/usr/bin/x", "/etc/modprobe.d/nvidia.conf"])
    assert initramfs.concerns(["/usr/src/nvidia-570.1/dkms.conf"])
    assert not initramfs.concerns(["/usr/bin/x", "/usr/share/doc/x"])
    before = {"6.1 /a": "1", "6.2 /a": "1"}
    assert initramfs.to_renew(before, {"6.1 /a": "1", "6.2 /a": "2"}) == ["6.2"]
    assert initramfs.to_renew(before, dict(before)) == []


def test_what_was_stale_in_an_image_is_not_compared(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, edited, added = (f"/etc/modprobe.d/{name}.conf" for name in ("fresh", "edited", "added"))
    for name in (fresh, edited, added, "/boot/initrd.img-6.1.0-test"):
        tools.path(name).parent.mkdir(parents=True, exist_ok=True)
        tools.path(name).write_text("now")
    now = content_digest(tools.path(fresh))
    image = {fresh: now, edited: "as it was"}
    monkeypatch.setattr(initramfs, "_unpacked", lambda *_: image)
    before = initramfs.contents(tools, tmp_path)
    assert before == {f"{KERNEL} {fresh}": now, f"{KERNEL} {edited}": "stale", f"{KERNEL} {added}": "stale"}
    image.update({edited: now, added: now})  # somebody has made a new one
    assert initramfs.to_renew(before, {**initramfs.contents(tools, tmp_path, before)}) == []
    image[fresh] = "another"
    assert initramfs.to_renew(before, {**initramfs.contents(tools, tmp_path, before)}) == [KERNEL]


def test_another_build_of_the_version_that_ran_means_to_reboot(root: Root, tmp_path: Path) -> None:
    for name, text in (("version", "570.172.08\n"), ("srcversion", "AAAA\n")):
        path = root.tools.path(f"/sys/module/nvidia/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    wanted = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
    snapshot = take(root.tools, tmp_path / "kept", plan(root.tools, root.facts, wanted), root.facts)
    assert judge(root.tools, snapshot).as_before
    root.tools.path("/sys/module/nvidia/srcversion").write_text("BBBB\n")
    found = judge(root.tools, snapshot)
    assert (found.as_before, found.values["reboot_needed"]) == (False, True)
    assert "it was another build of that version" in found.by_hand


@contextmanager
def _running(*words: str) -> Iterator[int]:
    child = subprocess.Popen(words, stdin=subprocess.PIPE)
    # A program that was just begun has no words for a moment.
    wait_until(Path(f"/proc/{child.pid}/cmdline").read_bytes)
    try:
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def test_a_script_of_a_package_that_goes_on_is_found_and_who_only_reads_one_is_not() -> None:
    script = "/var/lib/dpkg/info/nvidia-open.postinst"
    with _running("sh", "-s", script, "configure") as pid:
        assert locks.script(Tools()) == pid
        assert locks.script(Tools("/nowhere")) is None
    with _running("tail", "-F", script):
        assert locks.script(Tools()) is None
