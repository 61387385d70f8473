# SPDX-License-Identifier: Apache-2.0
"""The command that runs on a host: errands in order, each with its own reply, and nothing left of one that is late."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench.waiting import wait_until
from chaosgpu.fleet.ansible.on_host import ENDED, command, documents, split
from chaosgpu.fleet.ansible.parcel import Parcel
from chaosgpu.fleet.inventory import Inventory
from chaosgpu.fleet.transports import Errand, Reply

_MARK = "0123456789abcdef"
# Answers with its verb and what it read; "late" leaves a child behind and hangs.
_AGENT = """\
#!/bin/sh
case $1 in
late) sleep 986.25 & sleep 986.25 ;;
esac
printf '%s ' "$1"
cat
echo "said $1" >&2
[ "$1" != bad ] || exit 3
"""
_TOOLS = ("cat", "id", "sha256sum", "sleep", "sh")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent.pyz"
    path.write_text(_AGENT)
    path.chmod(0o755)
    return path


def _start(line: str, path: str | None = None) -> "subprocess.Popen[bytes]":
    variables = {**os.environ, **({} if path is None else {"PATH": path})}
    pipe = subprocess.PIPE
    return subprocess.Popen(["/bin/sh", "-c", line], stdin=pipe, stdout=pipe, stderr=pipe, env=variables)


def _run(line: str, whole: list[bytes], path: str | None = None) -> list[Reply]:
    with _start(line, path) as child:
        out, err = child.communicate(documents(whole), 60)
    return split(Reply(child.returncode, out, err), _MARK)


def _line(agent: Path, *verbs: str, digest: str = "", within_s: int = 30) -> str:
    return command(str(agent), [(verb, bool(digest)) for verb in verbs], digest, _MARK, within_s)


def _left() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().endswith(b"sleep\x00986.25\x00"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def _tools(folder: Path, *more: str) -> Path:
    """Make a folder for PATH that has no `timeout`."""
    tools = folder / "tools"
    tools.mkdir()
    for name in (*_TOOLS, *more):
        (tools / name).symlink_to(str(shutil.which(name)))
    return tools


def test_each_errand_gets_its_own_document_and_reply_in_order(agent: Path) -> None:
    whole = [b'{"a": "%s $HOME `id` \\n"}', b'{"b":\n 2}', b"{}"]
    *replies, rest = _run(_line(agent, "one", "bad", "three"), whole)
    assert replies == [
        Reply(0, b'one {"a": "%s $HOME `id` \\n"}\n', b"said one\n"),
        Reply(3, b'bad {"b":  2}\n', b"said bad\n"),
        Reply(0, b"three {}\n", b"said three\n"),
    ]
    assert rest == Reply(0, b"", b"")


def test_another_agent_does_only_what_any_may(agent: Path) -> None:
    line = command(str(agent), [("list", False), ("apply", True), ("list", False)], "0" * 64, _MARK, 30)
    *replies, rest = _run(line, [b"{}"] * 3)
    assert [reply.stdout for reply in replies] == [b"list {}\n"]
    assert rest.status == 91
    assert len(rest.stderr.strip()) == 64


@pytest.mark.parametrize("without", ["", "timeout", "timeout setsid"])
def test_what_is_late_is_ended_on_the_host_with_all_that_it_started_though_nobody_waits(
    agent: Path, tmp_path: Path, without: str
) -> None:
    path = str(_tools(tmp_path, *({"setsid"} - {*without.split()}))) if without else None
    child = _start(_line(agent, "late", within_s=2), path)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    child.stdin.write(documents([b"{}"]))
    for stream in (child.stdin, child.stdout, child.stderr):
        stream.close()
    try:
        wait_until(lambda: len(_left()) == 2)
        status = child.wait(20)
        assert status > 128 if without else status == ENDED
        if "setsid" not in without:  # else the shell alone is known, and what it has started is not
            wait_until(lambda: _left() == [])
    finally:
        for pid in _left():
            os.kill(int(pid), signal.SIGKILL)


def test_a_call_whose_document_never_comes_is_ended_too(agent: Path) -> None:
    begun = time.monotonic()
    with _start(_line(agent, "one", within_s=1)) as child:
        assert child.wait(20) == ENDED
        child.communicate()
    assert time.monotonic() - begun < 10


def test_a_call_without_timeout_answers_at_once_and_leaves_nothing(agent: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    *replies, rest = _run(_line(agent, "one", within_s=30), [b"{}"], str(_tools(tmp_path, "setsid")))
    assert replies == [Reply(0, b"one {}\n", b"said one\n")]
    assert rest.status == 0
    assert time.monotonic() - begun < 10


def test_as_a_user_it_goes_by_sudo_and_a_sudo_that_says_no_is_told(agent: Path, tmp_path: Path) -> None:
    tools = _tools(tmp_path, "timeout")
    (tools / "id").unlink()
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "sudo").write_text('#!/bin/sh\n[ "$1" = -n ] && shift; [ "$1" = -l ] && exit; exec "$@"\n')
    for name in ("id", "sudo"):
        (tools / name).chmod(0o755)
    assert _run(_line(agent, "one", "bad"), [b"{}"] * 2, str(tools))[:2] == [
        Reply(0, b"one {}\n", b"said one\n"),
        Reply(3, b"bad {}\n", b"said bad\n"),
    ]
    (tools / "sudo").write_text("#!/bin/sh\necho a password is required >&2\nexit 1\n")
    [rest] = _run(_line(agent, "one", "two"), [b"{}"] * 2, str(tools))
    assert (rest.status, rest.stderr) == (93, b"a password is required\n")


def test_a_way_back_has_more_time_on_the_host_than_anybody_waits(tmp_path: Path) -> None:
    parcel = Parcel(tmp_path, Inventory(("hosts.ini",)))
    parcel.fill({"a": [Errand("undo", b"{}", 5), Errand("record", b"{}", 5)], "b": [Errand("list", b"{}", 5)]})
    assert [shlex.split((tmp_path / f"{host}.command").read_text())[4] for host in ("a", "b")] == ["900", "5"]


def test_no_python_ends_the_errands_with_the_first(agent: Path) -> None:
    agent.write_text("#!/nowhere/python3\n")
    [rest] = _run(_line(agent, "one", "two"), [b"{}"] * 2)
    assert rest.status == 127
