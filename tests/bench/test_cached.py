# SPDX-License-Identifier: Apache-2.0
"""What is built once is whole or not there, however many ask and whoever is killed on the way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.cached import cached
from bench.plan import ROOT
from bench.waiting import wait_until

# Writes half, waits, writes the other half, and notes in a file beside the cache that it has built.
_BUILD = """
import os, sys, time
from pathlib import Path
from bench.cached import cached
place, wait_s = Path(sys.argv[1]), float(sys.argv[2])
def make(folder):
    with (place.parent.parent / "builds").open("a") as noted:
        noted.write(f"{os.getpid()}\\n")
    (folder / "first").write_text("1")
    time.sleep(wait_s)
    (folder / "second").write_text("2")
cached(place, make)
"""
pytestmark = pytest.mark.usefixtures("machine")


def _builder(place: Path, wait_s: float) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(place), str(wait_s)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"},
    )


def _whole(place: Path) -> bool:
    return sorted(path.name for path in place.iterdir()) == ["first", "second"]


def test_of_many_that_ask_at_once_one_builds(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "base-1"
    builders = [_builder(place, 0.3) for _ in range(4)]
    assert [builder.wait(30) for builder in builders] == [0, 0, 0, 0]
    assert _whole(place)
    assert len((tmp_path / "builds").read_text().splitlines()) == 1
    assert [path.name for path in place.parent.iterdir() if path.name.startswith("build-")] == []


def test_what_a_killed_builder_left_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "base-1"
    killed = _builder(place, 60)
    wait_until(lambda: list(place.parent.glob("build-*/first")))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not place.exists()
    assert _builder(place, 0).wait(30) == 0
    assert _whole(place)
    assert list(place.parent.glob("build-*")) == []


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "base-1"

    def fail(folder: Path) -> None:
        (folder / "first").write_text("1")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        cached(place, fail)
    assert sorted(path.name for path in place.parent.iterdir()) == ["lock"]


def test_what_nobody_has_used_for_a_day_is_removed_by_the_next_build(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    old, used = (cached(cache / f"base-{name}", lambda folder: folder.joinpath("x").touch()) for name in "ab")
    two_days_ago = time.time() - 2 * 86400
    os.utime(old, (two_days_ago, two_days_ago))
    os.utime(used, (two_days_ago, two_days_ago))
    cached(used, lambda _: None)
    cached(cache / "base-c", lambda folder: folder.joinpath("x").touch())
    assert sorted(path.name for path in cache.glob("base-*")) == ["base-b", "base-c"]
