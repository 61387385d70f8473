# SPDX-License-Identifier: Apache-2.0
"""The lock under which every lease moves, alone: quick, so that each mutant of the kernel meets it."""

import os
from pathlib import Path

import pytest

from chaosgpu.agent.errors import Refused, StoreFailed
from chaosgpu.agent.lock import Lock, held
from support.kernel_steps import Bench


def a_lock(bench: Bench, wait_s: float = 1.0) -> Lock:
    return Lock(str(bench.folder / "lock"), bench.world.clock, wait_s, "busy since long")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_who_waits_looks_often_gives_up_at_the_end_of_his_time_and_leaves_nothing_open(bench: Bench) -> None:
    clock = bench.world.clock
    with a_lock(bench):
        before, since_s = open_files(), clock.now_s
        other = a_lock(bench)
        assert other.take() is False
        assert clock.now_s - since_s == pytest.approx(1.0, abs=0.02)
        assert open_files() == before
        since_s = clock.now_s
        assert a_lock(bench, 0.0).take() is False
        assert clock.now_s == since_s  # no time to wait is no wait
        with pytest.raises(Refused, match="busy since long"):
            a_lock(bench).__enter__()
        other.release()  # it holds nothing, so it closes nothing
        assert open_files() == before
    assert not held(str(bench.folder / "lock"))


def test_a_lock_that_was_given_up_can_be_given_up_again_and_closes_no_others_file(bench: Bench) -> None:
    lock = a_lock(bench)
    assert lock.take() is True
    assert held(str(bench.folder / "lock")) is True
    lock.release()
    with (bench.folder / "others").open("w") as others:
        lock.release()
        assert os.fstat(others.fileno())
    assert held(str(bench.folder / "lock")) is False


def test_a_lock_that_got_the_lowest_descriptor_is_given_up_too(bench: Bench) -> None:
    kept = os.dup(0)
    try:
        os.close(0)
        lock = a_lock(bench)
        assert lock.take() is True
        lock.release()
        assert not held(str(bench.folder / "lock"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_the_file_of_a_lock_is_readable_for_all_and_no_link_is_followed(bench: Bench) -> None:
    mask = os.umask(0)
    try:
        with a_lock(bench):
            assert (bench.folder / "lock").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(mask)
    for name, target in (("link", bench.folder / "lock"), ("folder/none", None)):
        path = Path(bench.folder, name)
        if target is not None:
            path.symlink_to(target)
        with pytest.raises(StoreFailed, match="cannot be opened"):
            held(str(path))
