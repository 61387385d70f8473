# SPDX-License-Identifier: Apache-2.0
"""The ledger: chained lines, torn lines, full disks, and attacks on a finished one."""

import hashlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaosgpu.errors import LedgerBroken
from chaosgpu.fleet import redaction
from chaosgpu.lease.chain import FIRST, digest, verify_chain
from chaosgpu.lease.ledger import Ledger, entries_of, read_lines


class _Clock:
    """Each look is one second later."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", "run-1", _Clock())


@contextmanager
def _files_no_larger_than(size_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to grow files, as a full disk does: a real error from a real write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _lines(ledger: Ledger) -> list[bytes]:
    lines, torn = read_lines(ledger.path)
    assert torn == b""
    return lines


def test_each_line_has_its_number_the_digest_of_the_line_before_a_time_the_run_and_a_type(ledger: Ledger) -> None:
    ledger.append("run.planned", title="a drill")
    ledger.append("run.started")

    first, second = (json.loads(line) for line in _lines(ledger))
    assert first == {
        "seq": 1,
        "prev": FIRST,
        "at": "2026-11-20T15:00:01.000Z",
        "run": "run-1",
        "type": "run.planned",
        "title": "a drill",
    }
    assert second["seq"] == 2
    assert second["prev"] == hashlib.sha256(_lines(ledger)[0]).hexdigest()


def test_the_chain_can_be_followed_with_sha256sum_alone(ledger: Ledger) -> None:
    ledger.append("run.planned", title="ä drill")
    ledger.append("run.started")

    first = subprocess.run(["head", "-n", "1", ledger.path], capture_output=True, check=True).stdout
    summed = subprocess.run(["sha256sum"], input=first.rstrip(b"\n"), capture_output=True, check=True).stdout
    assert summed.decode().split()[0] == json.loads(_lines(ledger)[1])["prev"]


def test_threads_do_not_fork_the_chain(ledger: Ledger) -> None:
    def write() -> None:
        for _ in range(20):
            ledger.append("probe", name="one")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(_lines(ledger)) == 80
    assert [problem for problem in verify_chain(_lines(ledger)) if "older" not in problem] == []


def test_processes_do_not_fork_the_chain(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from chaosgpu.lease.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1]), 'run-1', lambda: datetime(2026, 1, 1, tzinfo=UTC))\n"
        "[ledger.append('probe', name='one') for _ in range(20)]\n"
    )
    path = tmp_path / "ledger.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [writer.wait(20) for writer in writers] == [0, 0, 0]

    lines, _ = read_lines(path)
    assert len(lines) == 60
    assert verify_chain(lines) == []


def test_a_torn_last_line_is_kept_aside_and_noted(ledger: Ledger) -> None:
    ledger.append("run.planned")
    with ledger.path.open("ab") as file:
        file.write(b'{"seq": 2, "prev": "abc')
    ledger.append("run.started")

    lines = _lines(ledger)
    repaired = json.loads(lines[1])
    assert [json.loads(line)["type"] for line in lines] == ["run.planned", "ledger.repaired", "run.started"]
    assert ledger.path.with_name(repaired["kept_as"]).read_bytes() == b'{"seq": 2, "prev": "abc'
    assert repaired["sha256"] == digest(b'{"seq": 2, "prev": "abc')
    assert verify_chain(lines) == []


def test_a_full_disk_leaves_nothing_half_written_and_the_next_line_fits(ledger: Ledger) -> None:
    ledger.append("run.planned")
    before = ledger.path.read_bytes()

    with _files_no_larger_than(len(before) + 20), pytest.raises(LedgerBroken, match="could not be written"):
        ledger.append("lease.reserved", lease="lease-1")

    assert ledger.path.read_bytes() == before
    ledger.append("run.started")
    assert verify_chain(_lines(ledger)) == []


def test_after_the_end_of_the_run_nothing_more_is_written(ledger: Ledger) -> None:
    ledger.append("run.finished", verdict="passed")
    with pytest.raises(LedgerBroken, match="after the end of the run"):
        ledger.append("probe", name="late")


def test_an_entry_cannot_forge_the_fields_of_the_chain(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="may not set prev"):
        ledger.append("probe", prev="0")


def test_a_link_in_place_of_the_ledger_is_not_followed(ledger: Ledger, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    ledger.path.symlink_to(other)
    with pytest.raises(LedgerBroken):
        ledger.append("run.planned")
    assert other.read_text() == ""


def test_secrets_do_not_reach_the_disk(ledger: Ledger) -> None:
    redaction.know(["hunter2hunter2"])
    try:
        ledger.append("probe", output={"say": "it is hunter2hunter2"})
    finally:
        redaction.forget()
    assert b"hunter2" not in ledger.path.read_bytes()


Attack = Callable[[list[bytes]], list[bytes]]
ATTACKS: dict[str, tuple[Attack, str]] = {
    "a value was changed": (lambda lines: [lines[0].replace(b"drill", b"thing"), *lines[1:]], "Line 2 does not carry"),
    "a line was taken out": (lambda lines: [lines[0], *lines[2:]], "Line 2 has seq 3"),
    "the first line was taken out": (lambda lines: lines[1:], "Line 1 has seq 2"),
    "two lines were swapped": (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "Line 2 has seq 3"),
    "a line was doubled": (lambda lines: [*lines[:2], lines[1], *lines[2:]], "Line 3 has seq 2"),
    "a line was added behind the end": (lambda lines: [*lines, lines[1]], "comes after run.finished"),
    "a line is no JSON": (lambda lines: [lines[0], b"{", *lines[2:]], "Line 2 is not a JSON object"),
    "a line is of another run": (
        lambda lines: [lines[0], lines[1].replace(b"run-1", b"run-2"), *lines[2:]],
        "Line 2 belongs to run 'run-2'",
    ),
    "a space was added": (lambda lines: [lines[0], lines[1] + b" ", *lines[2:]], "Line 3 does not carry"),
    "a time was made older": (
        lambda lines: [*lines[:-1], lines[-1].replace(b"2026-11-20", b"2026-11-19")],
        "Line 4 is older",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_verify_chain_finds(attack: str, ledger: Ledger) -> None:
    ledger.append("run.planned", title="a drill")
    ledger.append("run.started")
    ledger.append("probe", name="one")
    ledger.append("run.finished", verdict="passed")
    lines = _lines(ledger)
    assert verify_chain(lines) == []

    change, expected = ATTACKS[attack]
    assert any(expected in problem for problem in verify_chain(change(lines)))


def test_an_empty_ledger_has_no_broken_chain() -> None:
    assert verify_chain([]) == []


def test_what_a_dead_run_has_on_record_is_read_without_its_torn_end_and_without_a_line_that_is_none(
    ledger: Ledger,
) -> None:
    ledger.append("run.planned", title="one")
    with ledger.path.open("ab") as file:
        file.write(b'not JSON\n["no object"]\n{"type": "run.finished", "torn')
    [planned] = entries_of(ledger.path.parent)
    assert (planned["type"], planned["title"]) == ("run.planned", "one")
    assert ledger.entries() == [planned]


def test_a_record_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(LedgerBroken, match="could not be read"):
        entries_of(tmp_path)
    (tmp_path / "ledger.jsonl").touch()
    assert entries_of(tmp_path) == []
