# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a GPU or its driver."""

import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.sim import build

ARM = "arm()"
WAIT = "wait({})"


def test_an_xid_reaches_each_waiting_process_once(make: Any, start: Any) -> None:
    gpus = make()
    one, other = start(gpus), start(gpus)
    gpus.inject("xid", 0, xid=13)  # before the registration: nobody hears of it
    for peer in (one, other):
        peer(ARM)
    one.send(WAIT.format(5000))
    time.sleep(0.05)
    began = time.monotonic()
    gpus.inject("xid", 0, xid=48)
    assert one.answer() == [8, 48]
    assert time.monotonic() - began < 1
    assert other(WAIT.format(100)) == [8, 48]
    assert other.outcome(WAIT.format(10)) == "NVMLError_Timeout"


def test_an_xid_of_another_gpu_is_not_delivered(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    peer = start(gpus)
    peer(ARM)
    gpus.inject("xid", 1, xid=79)
    assert peer.outcome(WAIT.format(20)) == "NVMLError_Timeout"


def test_an_xid_is_a_line_in_the_kernel_log(make: Any, tmp_path: Path) -> None:
    gpus = make()
    gpus.set_system(kmsg_path=str(tmp_path / "kmsg"))
    gpus.inject("xid", 0, xid=31, pid=4711, process="python3")
    record = (tmp_path / "kmsg").read_text()
    prefix, _, message = record.partition(";")
    assert prefix.split(",")[0] == "3"
    assert message.startswith("NVRM: Xid (PCI:0000:1b:00): 31, pid=4711, name=python3, Ch ")
    assert record.count("\n") == 1


def test_a_bad_store_is_an_xid_and_spoils_the_process(make: Any, start: Any) -> None:
    gpus = make()
    culprit, neighbour = start(gpus), start(gpus)
    neighbour(ARM)
    assert neighbour("start() or launch('spin', 1)") == 0
    assert culprit("start() or launch('badstore')") == 0
    assert culprit("cuda.cuCtxSynchronize()") == 700
    assert culprit("allocate(2)") == 700
    assert neighbour(WAIT.format(1000)) == [8, 31]
    assert neighbour("allocate(2)") == 0


def test_a_lost_gpu_answers_nothing_and_the_others_go_on(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    peer = start(gpus)
    peer("start() or [device(0), device(1)] and 0")
    peer("globals().setdefault('lost', device(0)) and 0")
    gpus.inject("lost", 0)
    assert peer.outcome("nvml.nvmlDeviceGetUUID(globals()['lost'])") == "NVMLError_GpuIsLost"
    assert peer.outcome("device(0)") == "NVMLError_GpuIsLost"
    assert peer("nvml.nvmlDeviceGetTemperature(device(1), 0)") > 0
    assert peer("nvml.nvmlDeviceGetCount()") == 2
    assert peer("allocate(2)") == 999
    assert gpus.settings()[0]["last_xid"] == 79
    gpus.inject("reset", 0)
    assert peer("nvml.nvmlDeviceGetTemperature(device(0), 0)") > 0


@pytest.mark.parametrize(
    ("what", "nvml", "cuda"),
    [
        ("driver_unloaded", "NVMLError_DriverNotLoaded", 100),
        ("version_mismatch", "NVMLError_LibRmVersionMismatch", 803),
    ],
)
def test_without_its_driver_nothing_starts(what: str, nvml: str, cuda: int, make: Any, start: Any) -> None:
    gpus = make()
    gpus.inject(what)
    assert start(gpus).outcome("nvml.nvmlInit()") == nvml
    assert start(gpus)("cuda.cuInit(0)") == cuda
    gpus.inject("driver_loaded")
    assert start(gpus)("start()") == 0
    assert start(gpus)("device() and 0") == 0


def test_a_library_of_another_driver_works_with_its_own_kernel_module_alone(make: Any, start: Any) -> None:
    other = {"LD_LIBRARY_PATH": str(build.libraries(driver_version="575.57.08") / "lib")}
    gpus = make()
    peer = start(gpus, **other)
    assert peer.outcome("nvml.nvmlInit()") == "NVMLError_LibRmVersionMismatch"
    assert peer("nvml.nvmlSystemGetNVMLVersion()") == "13.575.57.08"
    assert start(gpus, **other)("cuda.cuInit(0)") == 803
    assert start(gpus)("start()") == 0  # the control: on the same GPUs at the same time
    gpus.set_system(kernel_driver_version="575.57.08")
    assert start(gpus, **other)("start()") == 0
    assert start(gpus)("cuda.cuInit(0)") == 803


def test_a_version_that_is_none_is_refused_before_anything_is_compiled() -> None:
    with pytest.raises(BadArgument, match="has digits and dots"):
        build.libraries(driver_version='1"; #')


def test_without_a_state_file_the_driver_is_not_loaded(make: Any, start: Any) -> None:
    peer = start(make(), CHAOSGPU_SIM_STATE="/nowhere/gpus.state")
    assert peer.outcome("nvml.nvmlInit()") == "NVMLError_DriverNotLoaded"
    assert peer("cuda.cuInit(0)") == 100


def test_a_file_that_is_no_state_is_not_taken_for_one(make: Any, start: Any, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"x" * 2_000_000)
    assert (
        start(make(), CHAOSGPU_SIM_STATE=str(tmp_path / "junk")).outcome("nvml.nvmlInit()")
        == "NVMLError_DriverNotLoaded"
    )


def test_an_older_driver_lacks_a_function(make: Any, start: Any) -> None:
    name = "nvmlDeviceGetMarginTemperature"
    old, new = start(make(missing_symbols=[name])), start(make())
    ask = f"nvml.{name}(device())"
    assert old.outcome(ask) == "NVMLError_FunctionNotFound"
    assert old("hasattr(nvml.nvmlLib, 'nvmlDeviceGetTemperature')") is True
    assert new(ask) > 0


def test_a_call_that_is_ignored_says_yes_and_does_nothing(make: Any, start: Any) -> None:
    gpus = make(simulated_root=True)
    client = start(gpus)
    before = client("nvml.nvmlDeviceGetPowerManagementLimit(device())")
    gpus.inject("ignore", 0, function="nvmlDeviceSetPowerManagementLimit")
    client("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)")
    assert client("nvml.nvmlDeviceGetPowerManagementLimit(device())") == before
    gpus.inject("return", 0, function="nvmlDeviceSetPowerManagementLimit", code=0)
    client("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)")
    assert client("nvml.nvmlDeviceGetPowerManagementLimit(device())") == 300000


def test_a_call_that_hangs_hangs_until_it_is_let_go(make: Any, start: Any) -> None:
    gpus = make()
    stuck, well = start(gpus), start(gpus)
    stuck("device() and 0")
    gpus.inject("hang", function="nvmlDeviceGetPowerUsage", hang_s=60)
    began = time.monotonic()
    stuck.send("nvml.nvmlDeviceGetPowerUsage(device())")
    assert well("nvml.nvmlDeviceGetTemperature(device(), 0)") > 0
    time.sleep(0.2)
    gpus.inject("hang", function="nvmlDeviceGetPowerUsage", hang_s=0)
    assert stuck.answer() == 70000
    assert 0.2 <= time.monotonic() - began < 2


def test_everything_can_hang_for_a_time(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.inject("hang", hang_s=0.3)
    began = time.monotonic()
    peer("nvml.nvmlInit()")
    assert time.monotonic() - began >= 0.3


def test_a_hung_process_can_be_killed(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.inject("hang")
    peer.send("nvml.nvmlInit()")
    time.sleep(0.1)
    peer.kill()
    gpus.inject("hang", hang_s=0)
    assert gpus.document()["clients"] == 0


def test_one_function_of_one_gpu_can_be_made_to_fail(make: Any, start: Any) -> None:
    gpus = make(gpus=2)
    peer = start(gpus)
    gpus.inject("return", 1, function="nvmlDeviceGetTemperature", code=999)
    assert peer("nvml.nvmlDeviceGetTemperature(device(0), 0)") > 0
    assert peer.outcome("nvml.nvmlDeviceGetTemperature(device(1), 0)") == "NVMLError_Unknown"
    gpus.inject("return", 1, function="nvmlDeviceGetTemperature", code=0)
    assert peer("nvml.nvmlDeviceGetTemperature(device(1), 0)") > 0


def test_errors_of_memory_are_counted_where_they_were_told(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.set(0, ecc_volatile_uncorrected=[3, 1], remapped_uncorrected=2, remap_pending=1, recovery_action=1)
    assert peer("nvml.nvmlDeviceGetTotalEccErrors(device(), 1, 0)") == 4
    assert peer("nvml.nvmlDeviceGetMemoryErrorCounter(device(), 1, 0, 2)") == 3
    assert peer("nvml.nvmlDeviceGetMemoryErrorCounter(device(), 1, 0, 7)") == 1
    assert peer("nvml.nvmlDeviceGetRemappedRows(device())") == [0, 2, 1, 0]
    fields = "[v.value.uiVal for v in nvml.nvmlDeviceGetFieldValues(device(), [143, 144, 230])]"
    assert peer(fields) == [2, 1, 1]
    peer("nvml.nvmlDeviceClearEccErrorCounts(device(), 0)")
    assert peer("nvml.nvmlDeviceGetTotalEccErrors(device(), 1, 0)") == 0


def test_links_and_fabric_can_be_broken(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.set(0, nvlink_down_mask=0b100, nvlink_crc_flit_errors=[0, 7], pcie_gen_cap=3, pcie_width_cap=8, pcie_replays=5)
    assert [peer(f"nvml.nvmlDeviceGetNvLinkState(device(), {link})") for link in (1, 2, 17)] == [1, 0, 1]
    assert peer.outcome("nvml.nvmlDeviceGetNvLinkState(device(), 18)") == "NVMLError_InvalidArgument"
    assert peer("nvml.nvmlDeviceGetNvLinkErrorCounter(device(), 1, 2)") == 7
    assert peer("nvml.nvmlDeviceGetFieldValues(device(), [(163, 1)])[0].value.ullVal") == 7
    assert peer("nvml.nvmlDeviceGetCurrPcieLinkGeneration(device())") == 3
    assert peer("nvml.nvmlDeviceGetCurrPcieLinkWidth(device())") == 8
    assert peer("nvml.nvmlDeviceGetPcieReplayCounter(device())") == 5
    gpus.set(0, fabric_state=2)
    state = (
        "[nvml.nvmlDeviceGetGpuFabricInfoV(device(), ctypes.byref(i)) or i.state"
        " for i in [nvml.c_nvmlGpuFabricInfoV_t()]][0]"
    )
    assert peer(state) == 2
    assert start(gpus)("cuda.cuInit(0)") == 802


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda gpus: gpus.set(0, no_such_field=1), "no_such_field = '1' on simulated GPU 0: there is no such field"),
        (lambda gpus: gpus.set(0, power_limit_mw="much"), "the value does not fit"),
        (lambda gpus: gpus.set(0, compute_mode=-1), "the value does not fit"),
        (lambda gpus: gpus.set(4, compute_mode=0), "there is no such GPU"),
        (lambda gpus: gpus.inject("thunder"), "nothing called 'thunder' to inject"),
        (lambda gpus: gpus.inject("xid", 0, code=3), "Could not inject 'xid'"),
        (lambda gpus: gpus.inject("hang", function="nvmlNothing"), "there is no such function"),
    ],
)
def test_what_cannot_be_set_is_refused_in_a_sentence(change: Any, message: str, make: Any) -> None:
    gpus = make()
    before = gpus.settings()
    with pytest.raises(BadArgument, match=message):
        change(gpus)
    assert gpus.settings() == before


def test_removed_gpus_cannot_be_shown(make: Any) -> None:
    gpus = make()
    gpus.remove()
    gpus.remove()
    with pytest.raises(LabFailed, match="no state of simulated GPUs"):
        gpus.show()


def test_a_gpu_that_needs_a_reset_takes_no_settings_and_no_new_work(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    gpus.set(0, reset_required=1)
    assert peer.outcome("nvml.nvmlDeviceSetPowerManagementLimit(device(), 300000)") == "NVMLError_ResetRequired"
    assert peer("nvml.nvmlDeviceGetTemperature(device(), 0)") > 0
    assert peer("start()") == 46
    gpus.inject("reset", 0)
    assert peer("start()") == 0
