# SPDX-License-Identifier: Apache-2.0
"""The driver's child: deadlines, ends, errors with advice."""

import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from chaosgpu.agent import nvml_calls
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import AgentError, BadRequest, DriverDied, DriverFailed, DriverHung
from chaosgpu.agent.process import Identity, alive, identity
from unit.readings.conftest import MakeDriver, MakeGpus, uuid_of

HANGS_IN = ["nvmlInitWithFlags", "nvmlDeviceGetMemoryInfo_v2"]


def gone(who: Identity, within_s: float = 2.0) -> bool:
    end = time.monotonic() + within_s
    while alive(who) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(who)


def running(pid: int | None) -> Identity:
    assert pid is not None
    who = identity(pid)
    assert who is not None
    return who


def _children() -> set[str]:
    return {pid for listed in Path("/proc/self/task").glob("*/children") for pid in listed.read_text().split()}


@pytest.mark.parametrize("function", HANGS_IN)
def test_a_call_that_hangs_is_given_up_in_time_and_leaves_no_process(
    function: str, make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    gpus = make_gpus()
    others = _children()  # of tests that ran before in this process
    driver = make_driver(gpus, deadline_s=0.3, start_extra_s=0.3)
    if function != "nvmlInitWithFlags":
        driver.call("find_gpu", uuid_of(gpus))
    gpus.inject("hang", function=function, hang_s=60)
    start = time.monotonic()
    with pytest.raises(DriverHung, match=r"used_mib did not come back within 0\.\d s.*process was killed") as caught:
        driver.call("used_mib", uuid_of(gpus))
    assert time.monotonic() - start < 1.0
    assert caught.value.kind == "driver_hung"
    assert driver.child_pid is None
    assert _children() == others


def test_after_a_hang_the_next_call_gets_a_new_child(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    driver = make_driver(gpus, deadline_s=0.5)
    driver.call("find_gpu", uuid_of(gpus))
    gpus.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=60)
    with pytest.raises(DriverHung):
        driver.call("used_mib", uuid_of(gpus))
    gpus.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=0)
    assert driver.call("used_mib", uuid_of(gpus)) == 0.0


def test_a_slow_call_within_its_deadline_is_no_hang(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    gpus.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=0.2)
    assert make_driver(gpus).call("used_mib", uuid_of(gpus)) == 0.0


def test_close_ends_the_child_and_a_second_close_is_nothing(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    driver = make_driver(gpus)
    driver.call("find_gpu", uuid_of(gpus))
    child = running(driver.child_pid)
    driver.close()
    assert identity(child.pid) is None
    driver.close()


def test_close_before_the_first_call_starts_nothing() -> None:
    driver = ForkedDriver()
    driver.close()
    assert driver.child_pid is None


def test_control_a_plain_child_outlives_its_killed_parent() -> None:
    script = "import os, time, sys; pid = os.fork(); pid and print(pid, flush=True); pid or os.setsid(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = running(int(parent.stdout.readline()))
        parent.kill()
    outlived = not gone(child, within_s=0.3)
    os.kill(child.pid, signal.SIGKILL)
    assert outlived


_PARENT = """
import sys, json, os
from chaosgpu.agent import nvml_calls
from chaosgpu.agent.driver import ForkedDriver
driver = ForkedDriver(json.loads(sys.argv[1]), deadline_s=60)
driver.call("find_gpu", sys.argv[2])
print(driver.child_pid, flush=True)
if sys.argv[3] == "hang":
    driver.call("used_mib", sys.argv[2])
sys.stdin.read()
"""


@pytest.mark.parametrize("busy", ["idle", "hang"])
def test_the_child_ends_when_its_parent_is_killed(busy: str, make_gpus: MakeGpus) -> None:
    gpus = make_gpus()
    gpus.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=60)
    environment = {key: gpus.environment()[key] for key in ("LD_LIBRARY_PATH", "CHAOSGPU_SIM_STATE")}
    arguments = [sys.executable, "-c", _PARENT, json.dumps(environment), uuid_of(gpus), busy]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = running(int(parent.stdout.readline()))
        if busy == "hang":
            time.sleep(0.2)
        assert alive(child)
        parent.kill()
    assert gone(child)


def test_the_child_keeps_no_lock_of_its_parent(make_gpus: MakeGpus, make_driver: MakeDriver, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    gpus = make_gpus()
    driver = make_driver(gpus)
    driver.call("find_gpu", uuid_of(gpus))
    os.close(lock)  # had the child inherited it, the lock would still be held
    with (tmp_path / "lock").open() as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert driver.child_pid is not None


def test_control_a_plain_child_does_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    os.close(lock)
    with (tmp_path / "lock").open() as again, pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


class _Interrupt(Exception):
    pass


def test_an_interrupted_call_does_not_give_its_answer_to_the_next(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise _Interrupt(number, frame)

    gpus = make_gpus()
    driver = make_driver(gpus)
    driver.call("find_gpu", uuid_of(gpus))
    gpus.inject("hang", function="nvmlDeviceGetMemoryInfo_v2", hang_s=0.3)
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(_Interrupt):
            driver.call("used_mib", uuid_of(gpus))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert driver._child is not None
    late = select.select([driver._child._answers], [], [], 2)[0]
    assert late  # control: the answer to the broken-off call lies there and would be taken for the next one
    found = driver.call("find_gpu", uuid_of(gpus))
    assert isinstance(found, dict)
    assert found["uuid"] == uuid_of(gpus)


def test_a_child_that_crashes_is_told_with_its_signal(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    driver = make_driver(gpus)
    driver.call("find_gpu", uuid_of(gpus))
    child = running(driver.child_pid)
    os.kill(child.pid, signal.SIGSEGV)
    with pytest.raises(DriverFailed, match=r"ended by signal 11 during the call used_mib"):
        driver.call("used_mib", uuid_of(gpus))
    assert gone(child)


def test_an_unknown_call_is_the_callers_mistake(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    with pytest.raises(BadRequest, match=r"There is no driver call named reboot; there are: .*find_gpu"):
        make_driver(make_gpus()).call("reboot")


def test_a_defect_in_a_call_is_told_and_not_swallowed(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    with pytest.raises(AgentError, match=r"find_gpu failed with TypeError.*This is a defect"):
        make_driver(make_gpus()).call("find_gpu")


@pytest.mark.parametrize("lacked", [OSError(24, "no descriptor"), MemoryError(), ImportError("failed to map segment")])
def test_what_the_drivers_process_lacked_itself_is_no_answer_of_the_driver(
    make_gpus: MakeGpus, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch, lacked: Exception
) -> None:
    def broken(_: str) -> NoReturn:
        raise lacked

    monkeypatch.setattr(nvml_calls, "resolve", broken)
    with pytest.raises(DriverDied, match=f"find_gpu failed with {type(lacked).__name__}"):
        make_driver(make_gpus()).call("find_gpu", "0")


def test_a_start_of_nvml_that_failed_once_is_tried_again(
    make_gpus: MakeGpus, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = iter((_not_loaded, nvml_calls.nvml.nvmlInit))

    def start() -> None:
        next(starts)()

    monkeypatch.setattr(nvml_calls.nvml, "nvmlInit", start)
    assert make_driver(make_gpus()).call("list_gpus")


def test_a_library_without_a_descriptor_is_not_taken_for_a_driver_that_is_not_loaded(
    make_gpus: MakeGpus, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short() -> NoReturn:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        _not_loaded()

    monkeypatch.setattr(nvml_calls.nvml, "nvmlInit", short)
    with pytest.raises(DriverDied, match="Too many open files"):
        make_driver(make_gpus()).call("list_gpus")


def _not_loaded() -> NoReturn:
    raise nvml_calls.nvml.NVMLError(9)


def test_a_missing_library_says_what_to_install(make_driver: MakeDriver) -> None:
    with pytest.raises(DriverFailed, match=r"12 .*install the NVIDIA driver") as caught:
        make_driver().call("list_gpus")
    assert caught.value.code == 12


def test_a_driver_that_is_not_loaded_says_how_to_load_it_and_is_found_once_loaded(
    make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    gpus = make_gpus()
    gpus.inject("driver_unloaded")
    driver = make_driver(gpus)
    with pytest.raises(DriverFailed, match=r"9 .*modprobe nvidia") as caught:
        driver.call("list_gpus")
    assert caught.value.code == 9
    gpus.inject("driver_loaded")
    found = driver.call("list_gpus")
    assert isinstance(found, list)
    assert len(found) == 2


def test_a_version_mismatch_says_reboot_or_reload(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    gpus.inject("version_mismatch")
    with pytest.raises(DriverFailed, match=r"18 .*reboot, or reload the kernel module") as caught:
        make_driver(gpus).call("list_gpus")
    assert caught.value.code == 18


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (3, "cannot do it"),
        (4, "as root"),
        (15, "power-cycle"),
        (16, "gpu-reset"),
        (19, "end the processes"),
        (999, "kernel log"),
    ],
)
def test_each_nvml_code_comes_with_what_to_do(
    code: int, advice: str, make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    gpus = make_gpus()
    gpus.inject("return", function="nvmlDeviceGetName", code=code)
    with pytest.raises(DriverFailed, match=advice) as caught:
        make_driver(gpus).call("find_gpu", uuid_of(gpus))
    assert caught.value.code == code
