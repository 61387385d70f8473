# SPDX-License-Identifier: Apache-2.0
"""The run directory: private, whole files or none, and a sign of life that goes with the process."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from chaosgpu.errors import LedgerBroken
from chaosgpu.lease.directory import alive, create, every_run, home, keep_alive, plain, write_json
from chaosgpu.lease.ids import Names, stamp


def test_a_run_directory_is_private_and_latest_points_to_the_newest(tmp_path: Path) -> None:
    runs = tmp_path / "deep/runs"
    first, second = create(runs, "run-1"), create(runs, "run-2")

    assert (runs / "latest").resolve() == second
    assert every_run(runs) == [second, first]
    for folder in (runs, first, first / "hosts", first / "series"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_two_runs_never_share_a_directory(tmp_path: Path) -> None:
    create(tmp_path, "run-1")
    with pytest.raises(LedgerBroken, match="File exists"):
        create(tmp_path, "run-1")


def test_runs_are_kept_under_the_current_folder_or_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHAOSGPU_RUNS", raising=False)
    assert home() == tmp_path / ".chaosgpu/runs"
    monkeypatch.setenv("CHAOSGPU_RUNS", "/somewhere/else")
    assert home() == Path("/somewhere/else")


def test_a_file_is_replaced_whole_and_leaves_no_unfinished_one(tmp_path: Path) -> None:
    path = tmp_path / "hosts/one/before.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})

    assert json.loads(path.read_text()) == {"a": 2}
    assert [file.name for file in path.parent.iterdir()] == ["before.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerBroken, match="could not be written"):
        write_json(tmp_path / "file/inside.json", {})


class _Colour(Enum):
    RED = "red"


class _Thing:
    def __repr__(self) -> str:
        return "<a thing>"


def test_what_json_lacks_is_written_all_the_same() -> None:
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    source = {1: (moment, Decimal("1.5")), "s": {"x"}, "e": _Colour.RED, "n": float("nan"), "t": _Thing(), "b": True}

    assert plain(source) == {
        "1": ["2026-11-20T00:00:00+00:00", "1.5"],
        "s": ["x"],
        "e": "red",
        "n": "nan",
        "t": "<a thing>",
        "b": True,
    }


def test_a_run_lives_as_long_as_its_process_and_no_longer(tmp_path: Path) -> None:
    assert not alive(tmp_path)
    program = (
        "import sys, time; from pathlib import Path; from chaosgpu.lease.directory import keep_alive\n"
        "with keep_alive(Path(sys.argv[1])): print('holding', flush=True); time.sleep(30)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    assert alive(tmp_path)
    child.kill()
    child.wait(5)
    child.stdout.close()
    assert not alive(tmp_path)


def test_the_sign_of_life_ends_with_the_block(tmp_path: Path) -> None:
    with keep_alive(tmp_path):
        assert alive(tmp_path)
    assert not alive(tmp_path)


def test_names_come_from_the_clock_and_the_randomness_that_are_passed_in() -> None:
    names = Names(now=lambda: datetime(2026, 11, 20, 15, 59, 19, 123456, tzinfo=UTC), token=lambda size: "a" * 2 * size)
    assert names.run() == "20261120T155919Z-aaaaaa"
    assert names.lease() == "lease-aaaaaaaaaaaaaaaa"
    assert stamp(names.now()) == "2026-11-20T15:59:19.123Z"
