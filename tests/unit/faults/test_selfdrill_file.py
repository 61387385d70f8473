# SPDX-License-Identifier: Apache-2.0
"""`selfdrill.file` on the host's own agent: plain files in one folder of root's own, and nothing else at all.

With a home of its own it is struck in tests/crash; here root is whoever runs the test.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import Forbidden, NoEffect, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.faults.selfdrill import BROKEN, FileText

ME = os.getuid()


@dataclass(frozen=True)
class Root:
    """A state root with the drill's folder and one file in it."""

    home: Path
    fault: FileText
    context: Context

    @property
    def folder(self) -> Path:
        return self.home / "selfdrill"

    @property
    def file(self) -> Path:
        return self.folder / "file"

    def check(self, path: Path | str) -> None:
        self.fault.check(str(path), self.context)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    made = Root(tmp_path, FileText(owner=ME), Context(ForkedDriver({}), SystemClock(), f"{tmp_path}/leases/l1"))
    made.folder.mkdir(0o700)
    made.file.write_text("well")
    return made


@pytest.mark.parametrize("text", [b"well", "größer".encode(), b"one\r\ntwo\n", b"\xff\xfe\x00", b"x" * 4096])
def test_it_changes_a_file_and_puts_it_back_byte_by_byte(root: Root, text: bytes) -> None:
    fault, path, context = root.fault, str(root.file), root.context
    root.file.write_bytes(text)
    root.check(path)
    prior = fault.capture(path, context)
    fault.inject(path, prior, context)
    assert root.file.read_text() == BROKEN
    assert fault.verify(path, prior, None, context) == {"text": BROKEN}
    fault.undo(path, prior, context)
    assert fault.restored(path, prior, None, context).clean
    assert root.file.read_bytes() == text


def test_what_is_broken_already_and_what_is_long_is_refused(root: Root) -> None:
    for text, error in ((BROKEN, NoEffect), ("", NoEffect), ("x" * 4097, Refused)):
        root.file.write_text(text)
        with pytest.raises(error):
            root.check(root.file)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "pipe": lambda path, _: os.mkfifo(path),
    "link": lambda path, other: path.symlink_to(other),
    "second name": lambda path, other: path.hardlink_to(other),
    "folder": lambda path, _: path.mkdir(),
    "socket": lambda path, _: _socket(path),
    "nothing": lambda _path, _other: None,
    **({"device": lambda path, _: os.mknod(path, 0o20666, os.makedev(1, 7))} if ME == 0 else {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_plain_file_is_neither_opened_nor_followed_nor_waited_for(root: Root, kind: str) -> None:
    other = root.home / "other"
    other.write_text("well")
    prior = root.fault.capture(str(root.file), root.context)
    root.file.unlink()
    KINDS[kind](root.file, other)
    path, context = str(root.file), root.context
    steps: list[Callable[[], object]] = [
        lambda: root.fault.check(path, context),
        lambda: root.fault.inject(path, prior, context),
        lambda: root.fault.undo(path, prior, context),
        lambda: root.fault.restored(path, prior, None, context),
    ]
    for step in steps:
        with pytest.raises(Refused, match=r"There is no file|is no plain file with one name"):
            step()
    assert other.read_text() == "well"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "{home}/file", "{home}/selfdrill", "{home}/selfdrill/", "{home}/selfdrill/..",
        "{home}/selfdrill/../file", "{home}/./selfdrill/file", "{home}/selfdrill//file", "{home}/selfdrill/sub/file",
        "{home}/selfdrill/a b", "{home}/selfdrill/\0", "selfdrill/file", "file", "/var/lib/chaosgpu/selfdrill/file",
    ],
)  # fmt: skip
def test_no_other_path_is_taken_and_no_other_spelling(root: Root, path: str) -> None:
    (root.home / "file").write_text("well")
    (root.folder / "sub").mkdir()
    (root.folder / "sub" / "file").write_text("well")
    with pytest.raises((Forbidden, Refused)):
        root.check(path.format(home=root.home))


def test_a_folder_that_others_may_write_or_that_is_a_link_is_refused(root: Root) -> None:
    for mode in (0o770, 0o707, 0o1777):
        root.folder.chmod(mode)
        with pytest.raises(Forbidden, match=f"has mode {mode:o}"):
            root.check(root.file)
    root.folder.chmod(0o755)
    root.check(root.file)
    root.folder.rename(root.home / "elsewhere")
    root.folder.symlink_to(root.home / "elsewhere")
    with pytest.raises(Forbidden, match="is no folder of user"):
        root.check(root.file)


def test_a_folder_of_somebody_else_is_refused(root: Root) -> None:
    with pytest.raises(Forbidden, match=f"must belong to user {ME + 1}"):
        FileText(owner=ME + 1).check(str(root.file), root.context)


def test_the_host_s_own_agent_wants_roots_folder_and_has_no_fault_that_holds_a_lock(root: Root) -> None:
    fault = REGISTRY["selfdrill.file"]
    assert isinstance(fault, FileText)
    assert fault._owner == 0
    assert "selfdrill.holder" not in REGISTRY
    with pytest.raises(Forbidden):
        FileText(owner=ME).check(str(root.file), Context(ForkedDriver({}), SystemClock()))
