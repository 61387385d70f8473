# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu self-drill` as a user runs it: what it prints, what it writes, and that nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import Forbidden
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.selfdrill import FAULTS
from chaosgpu.cli.main import main
from chaosgpu.selfdrill.drill import Settings, Struck
from chaosgpu.selfdrill.host import FILE, LOCK
from chaosgpu.selfdrill.points import Outcome, Point, wait_until
from chaosgpu.selfdrill.report import Report
from chaosgpu.selfdrill.strace import Call
from support.limited import A_PLAIN_USER, AS_A_PLAIN_USER

COMMAND = [str(Path(sys.executable).with_name("chaosgpu")), "self-drill"]


def _left() -> set[str]:
    """Return the drill's folders and the processes that work in one."""
    folders = {str(path) for path in Path("/dev/shm").glob("chaosgpu-self-drill-*")}  # noqa: S108 (where it works)
    working = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"chaosgpu-self-drill-" in (entry / "environ").read_bytes():
                working.add(entry.name)
        except OSError:
            continue
    return folders | working


@pytest.mark.timeout(300)
def test_a_drill_of_a_plain_user_strikes_and_leaves_nothing_of_itself(tmp_path: Path) -> None:
    before, told = _left(), tmp_path / "drill.json"
    told.touch()
    if AS_A_PLAIN_USER:
        os.chown(told, A_PLAIN_USER, A_PLAIN_USER)
    words = [*AS_A_PLAIN_USER, *COMMAND, "--points", "8", "--json", str(told)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    found = json.loads(told.read_text())
    assert found["user"] != 0
    assert [point for point in found["points"] if point["left"]] == []
    assert len(found["points"]) == 8
    assert {point["point"].split("/")[0] for point in found["points"]} == {FILE, LOCK}
    assert done.returncode == (0 if all(point["hit"] for point in found["points"]) else 1), done.stdout
    assert "points with something left" in done.stdout
    assert _left() <= before


def _as_from_a_terminal() -> None:
    """Undo what a shell does to what it starts in the background: it ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(300)
def test_ctrl_c_leaves_nothing() -> None:
    before = _left()
    child = subprocess.Popen(
        COMMAND,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_as_from_a_terminal,  # noqa: PLW1509 (a signal, before threads)
    )
    assert wait_until(lambda: len(_left() - before) >= 2, 120)
    time.sleep(0.5)
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(60) == 130
    assert wait_until(lambda: _left() <= before, 10)


def test_without_strace_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["self-drill"]) == 2
    assert "strace, which is not installed: apt-get install strace." in capfd.readouterr().err


def test_where_nothing_may_be_traced_one_sentence_says_what_to_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refusing = tmp_path / "strace"
    refusing.write_text("#!/bin/sh\necho 'strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main(["self-drill"]) == 2
    said = capfd.readouterr().err
    assert "Operation not permitted" in said
    assert "--cap-add SYS_PTRACE" in said


def _report(*outcomes: Outcome, points: int = 1, planned: int = 1) -> Report:
    point = Point(FILE, "apply", "agent", "process", Call("write", 1, ""))
    return Report(Settings(points, 1, 1.0), planned, [Struck(point, 1, outcome) for outcome in outcomes], 1.0)


def test_a_report_holds_only_where_all_was_struck_and_hit_and_nothing_left() -> None:
    assert _report(Outcome(hit=True)).holds
    assert not _report(Outcome(hit=False)).holds
    assert not _report(Outcome(hit=True, residue=["a claim"])).holds
    assert not _report(Outcome(hit=True), planned=2, points=2).holds
    assert not _report(Outcome(hit=True), points=2).holds
    assert not _report(Outcome(hit=True, late_s=5.1)).holds


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_drill_refuses_every_file_but_the_drills_own(name: str, tmp_path: Path) -> None:
    fault, own, other = FAULTS[name], tmp_path / "file", tmp_path / "elsewhere" / "file"
    other.parent.mkdir()
    for path in (own, other):
        path.write_text("well")
    in_its_home = Context(ForkedDriver({}), SystemClock(), limited_to_home=str(tmp_path / "home"))
    fault.check(str(own), in_its_home)
    with pytest.raises(Forbidden, match="start it with `chaosgpu self-drill`"):
        fault.check(str(other), in_its_home)
    with pytest.raises(Forbidden):
        fault.check(str(own), Context(ForkedDriver({}), SystemClock()))
