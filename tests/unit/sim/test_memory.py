# SPDX-License-Identifier: Apache-2.0
"""Memory: seen by all processes, bounded by the device, given back by the kernel."""

import fcntl
import os
import random
import signal
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from support.agent_host import wait_until


def test_what_one_process_takes_another_sees(make: Any, start: Any) -> None:
    gpus = make()
    taker, watcher = start(gpus), start(gpus)
    assert watcher("used_mib()") == 0
    assert taker("start() or allocate(1024)") == 0
    assert watcher("used_mib()") == 518 + 1024  # the context costs what it costs on the product
    assert watcher("pids()") == [taker.pid]
    assert taker("release()") == 0
    assert watcher("used_mib()") == 518


def test_nvml_and_cuda_agree_on_what_is_free(make: Any, start: Any) -> None:
    peer = start(make("a100"))
    assert peer("start() or allocate(5000)") == 0
    free, total = peer("free_mib()")
    assert total == 81920 - 869
    assert free == total - 418 - 5000
    assert peer("nvml.nvmlDeviceGetMemoryInfo(device()).free // MIB") == free
    assert peer("nvml.nvmlDeviceGetMemoryInfo(device()).used // MIB") == 81920 - free  # with what is reserved


def test_memory_runs_out_at_the_total(make: Any, start: Any) -> None:
    gpus = make("t4")
    one, other = start(gpus), start(gpus)
    assert one("start() or allocate(8000)") == 0
    assert other("start()") == 0
    left = other("free_mib()")[0]
    assert other(f"allocate({left + 2})") == 2
    assert other(f"allocate({left // 2 * 2})") == 0
    assert one("allocate(2)") == 2
    assert one("free_mib()")[0] < 2


def test_no_context_fits_on_a_full_gpu(make: Any, start: Any) -> None:
    gpus = make("t4")
    full, late = start(gpus), start(gpus)
    assert full("start() or allocate(free_mib()[0] // 2 * 2)") == 0
    assert late("start()") == 2


def test_memory_is_handed_out_in_blocks_of_two_mib(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or allocate(3)") == 0
    assert peer("used_mib()") == 518 + 4


def test_small_allocations_share_a_block(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or sum(allocate(0.001) for _ in range(1000))") == 0
    assert peer("used_mib()") == 518 + 2


def test_freeing_what_was_not_taken_is_refused(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or cuda.cuMemFree_v2(ctypes.c_uint64(12345))") == 1
    assert peer("start() or allocate(2) or cuda.cuMemFree_v2(ctypes.c_uint64(pointers[0] + 512))") == 1


def test_memory_of_a_killed_process_comes_back(make: Any, start: Any) -> None:
    gpus = make()
    victim, watcher = start(gpus), start(gpus)
    assert victim("start() or allocate(4096)") == 0
    assert watcher("used_mib()") == 518 + 4096
    victim.kill()
    assert watcher("used_mib()") == 0
    assert watcher("pids()") == []
    assert gpus.settings()[0]["memory_by_process"] == {}


def test_memory_of_a_stopped_process_stays(make: Any, start: Any) -> None:
    gpus = make()
    victim, watcher = start(gpus), start(gpus)
    assert victim("start() or allocate(4096)") == 0
    os.kill(victim.pid, signal.SIGSTOP)
    assert watcher("used_mib()") == 518 + 4096
    os.kill(victim.pid, signal.SIGCONT)


@pytest.mark.parametrize("asks_nvml", [False, True])
def test_memory_of_a_killed_process_stays_until_its_forks_have_ended(make: Any, start: Any, asks_nvml: bool) -> None:
    """So it was on an H200 and an H100: 4.1 s after the kill, when a fork that slept 4 s had ended."""
    gpus = make()
    victim, watcher = start(gpus), start(gpus)
    assert victim("start() or allocate(4096)") == 0
    child = victim(f"os.fork() or ({asks_nvml} and used_mib(), __import__('time').sleep(30))")
    victim.kill()
    time.sleep(0.2)
    assert watcher("used_mib()") == 518 + 4096
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: watcher("used_mib()") == 0)


def test_memory_of_a_killed_process_comes_back_although_a_program_that_it_started_runs_on(
    make: Any, start: Any
) -> None:
    gpus = make()
    victim, watcher = start(gpus), start(gpus)
    assert victim("start() or allocate(4096)") == 0
    child = victim("os.fork() or os.execvp('sleep', ['sleep', '30'])")
    wait_until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
    victim.kill()
    wait_until(lambda: watcher("used_mib()") == 0)
    os.kill(child, 0)  # it is there still


def test_cuda_does_not_survive_a_fork(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start()") == 0
    ask = "os.waitstatus_to_exitcode(os.waitpid(os.fork() or os._exit({}), 0)[1])"
    assert peer(ask.format("cuda.cuInit(0)")) == 3
    assert peer(ask.format("allocate(2)")) == 3
    assert peer("allocate(2)") == 0


def test_cuda_starts_in_a_child_whose_parent_had_not_used_it(make: Any, start: Any) -> None:
    peer = start(make())
    peer("device() and 0")
    assert peer("os.waitstatus_to_exitcode(os.waitpid(os.fork() or os._exit(start()), 0)[1])") == 0
    assert peer("used_mib()") == 0


def test_nvml_goes_on_in_the_child_of_a_fork(make: Any, start: Any) -> None:
    peer = start(make())
    assert peer("start() or allocate(2048)") == 0
    peer("device() and 0")
    count = "os._exit(used_mib() // 512)"
    assert peer(f"os.waitstatus_to_exitcode(os.waitpid(os.fork() or {count}, 0)[1])") == (518 + 2048) // 512


def test_a_memory_limit_on_a_cgroup_binds_those_in_it(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    own = next(line for line in Path("/proc/self/cgroup").read_text().split() if line.startswith("0::"))[3:]
    limit = f"nvml.nvmlDeviceSetMemoryLimits_v1(device(), nvml.c_nvmlSetMemoryLimits_v1_t({own.encode()!r}, 0, %s))"
    assert peer("start()") == 0
    peer(limit % "2048 * MIB")
    assert peer("allocate(2048)") == 2
    assert peer("allocate(1024)") == 0
    assert gpus.settings()[0]["memory_limits"] == [{"soft": 0, "hard": 2048 << 20, "cgroup": own}]
    peer(limit % "nvml.NVML_DEVICE_MEMORY_LIMIT_MAX")
    assert gpus.settings()[0]["memory_limits"] == []
    assert peer("allocate(2048)") == 0


def test_memory_is_not_given_back_while_somebody_counts_it(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    assert peer("start() or allocate(300)") == 0
    with gpus.state.open("r+b") as held:  # as who counts holds it: what is used, and then by whom
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 1 << 40, 1, 0)
        fcntl.fcntl(held, 37, lock)  # F_OFD_SETLK
        began = time.monotonic()
        assert peer("release()") == 0
        assert 0.5 < time.monotonic() - began < 3


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_killed_at_any_moment_leave_a_state_that_adds_up(seed: int, make: Any, start: Any) -> None:
    gpus = make()
    watcher = start(gpus)
    dice = random.Random(seed)
    churn = (
        "start() or [allocate(dice.choice((1, 2, 300))) or (len(pointers) > 5 and release()) or used_mib()"
        " for dice in [__import__('random').Random({})] for _ in range(10**9)]"
    )
    ready_by = time.monotonic() + 20
    for _ in range(4):
        crowd = [start(gpus) for _ in range(4)]
        for peer in crowd:
            peer.send(churn.format(dice.randrange(1000)))
        while len(watcher("pids()")) < len(crowd):
            assert time.monotonic() < ready_by
        for peer in dice.sample(crowd, len(crowd)):
            time.sleep(dice.random() * 0.02)
            peer.kill()
            living = gpus.show()[0]
            told = sum(process["context_bytes"] + process["allocated_bytes"] for process in living["processes"])
            assert living["readings"]["used_mib"] == told >> 20
    assert watcher("used_mib()") == 0
    assert watcher("pids()") == []
    assert gpus.settings()[0]["memory_by_process"] == {}
    assert start(gpus)("start() or allocate(80000)") == 0


def test_a_process_stopped_inside_the_lock_does_not_stop_the_others(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    assert peer("start()") == 0
    with gpus.state.open("r+b") as held:  # as if a process had been stopped right there
        lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 1 << 40, 1, 0)
        fcntl.fcntl(held, 37, lock)  # F_OFD_SETLK
        began = time.monotonic()
        assert peer("[allocate(2) for _ in range(100)]") == [0] * 100
        assert 0.5 < time.monotonic() - began < 3
    assert peer("used_mib()") == 518 + 200


def test_looking_at_gpus_many_times_leaves_no_file_open(make: Any) -> None:
    gpus = make()
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(20):
        gpus.show()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
