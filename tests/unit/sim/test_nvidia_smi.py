# SPDX-License-Identifier: Apache-2.0
"""nvidia-smi: what playbooks ask and set, with the real words and exit codes."""

import os
import subprocess
from typing import Any

import pytest

FIELDS = (
    "timestamp",
    "name",
    "uuid",
    "index",
    "serial",
    "pci.bus_id",
    "vbios_version",
    "driver_version",
    "count",
    "pstate",
    "compute_cap",
    "memory.total",
    "memory.used",
    "memory.free",
    "memory.reserved",
    "utilization.gpu",
    "utilization.memory",
    "temperature.gpu",
    "power.draw",
    "power.limit",
    "power.default_limit",
    "power.min_limit",
    "power.max_limit",
    "enforced.power.limit",
    "clocks.sm",
    "clocks.mem",
    "clocks.gr",
    "clocks.max.sm",
    "clocks.max.mem",
    "persistence_mode",
    "compute_mode",
    "ecc.mode.current",
    "ecc.mode.pending",
    "mig.mode.current",
    "ecc.errors.corrected.volatile.total",
    "ecc.errors.uncorrected.volatile.total",
    "remapped_rows.pending",
    "remapped_rows.failure",
    "clocks_event_reasons.active",
    "clocks_throttle_reasons.active",
    "pcie.link.gen.current",
    "pcie.link.gen.max",
    "pcie.link.width.current",
    "pcie.link.width.max",
)


def smi(gpus: Any, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the nvidia-smi that the environment finds."""
    found = {**os.environ, **gpus.environment(), **environment}
    program = gpus.libraries / "bin" / "nvidia-smi"
    return subprocess.run([program, *arguments], capture_output=True, text=True, env=found, check=False, timeout=20)


def test_the_list_names_each_gpu(make: Any) -> None:
    gpus = make("a100", 2)
    uuids = [gpu["identity"]["uuid"] for gpu in gpus.show()]
    assert smi(gpus, "-L").stdout.splitlines() == [
        f"GPU {index}: NVIDIA A100-SXM4-80GB (UUID: {uuid})" for index, uuid in enumerate(uuids)
    ]


def test_a_query_gives_csv_with_units(make: Any) -> None:
    gpus = make(gpus=2)
    done = smi(gpus, "--query-gpu=index,memory.total,power.limit,mig.mode.current,fan.speed", "--format=csv")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "index, memory.total [MiB], power.limit [W], mig.mode.current, fan.speed [%]",
        "0, 81559 MiB, 700.00 W, Disabled, [N/A]",
        "1, 81559 MiB, 700.00 W, Disabled, [N/A]",
    ]


def test_a_query_can_leave_header_and_units_away(make: Any) -> None:
    gpus = make(gpus=2)
    head = smi(gpus, "--query-gpu=clocks.sm", "--format=csv").stdout.splitlines()[0]
    assert head == "clocks.current.sm [MHz]"
    fields = "--query-gpu=name,driver_version,memory.used,compute_mode,persistence_mode"
    done = smi(gpus, fields, "--format=csv,noheader,nounits", "-i", "1")
    assert done.stdout == "NVIDIA H100 80GB HBM3, 610.43.02, 0, Default, Enabled\n"


@pytest.mark.parametrize("field", FIELDS)
def test_each_common_field_is_answered(field: str, make: Any) -> None:
    done = smi(make(), f"--query-gpu={field}", "--format=csv,noheader,nounits")
    assert done.returncode == 0
    assert done.stdout.strip() not in {"", "[N/A]", "[Unknown Error]"}


def test_the_processes_are_listed(make: Any, start: Any) -> None:
    gpus = make()
    peer = start(gpus)
    assert peer("start() or allocate(100)") == 0
    done = smi(gpus, "--query-compute-apps=pid,used_memory,gpu_uuid,process_name", "--format=csv,noheader,nounits")
    pid, used, uuid, name = done.stdout.strip().split(", ")
    assert (int(pid), int(used)) == (peer.pid, 618)
    assert uuid == gpus.show()[0]["identity"]["uuid"]
    assert "python" in name
    assert str(peer.pid) in smi(gpus).stdout


def test_settings_are_set_and_reset(make: Any) -> None:
    gpus = make(gpus=2)
    uuid = gpus.show()[1]["identity"]["uuid"]
    calls = (["-i", "1", "-pl", "300"], ["-i", uuid, "-lgc", "600,900"], ["-i", "00000000:43:00.0", "-c", "PROHIBITED"])
    for call in (*calls, ["-i", "1", "-pm", "1"]):
        assert smi(gpus, *call).returncode == 0
    first, second = gpus.settings()
    assert [second[name] for name in ("power_limit_mw", "sm_lock_min_mhz", "compute_mode")] == [300000, 600, 2]
    assert [first[name] for name in ("power_limit_mw", "sm_lock_min_mhz", "compute_mode")] == [700000, 0, 0]
    assert smi(gpus, "-rgc").returncode == 0
    assert gpus.settings()[1]["sm_lock_max_mhz"] == 0


def test_a_power_limit_out_of_range_is_refused_with_the_range(make: Any) -> None:
    done = smi(make(), "-pl", "9000")
    assert done.returncode != 0
    assert "should be between 200.00 W and 700.00 W" in done.stdout


def test_without_root_a_setting_is_refused(make: Any) -> None:
    done = smi(make(simulated_root=False), "-pl", "300")
    assert done.returncode == 4
    assert "Insufficient Permissions" in done.stdout


def test_a_gpu_is_drained_and_no_devices_are_left(make: Any) -> None:
    gpus = make()
    assert smi(gpus, "drain", "-p", "0000:1b:00.0", "-m", "1").returncode == 19
    assert smi(gpus, "-pm", "0").returncode == 0
    assert smi(gpus, "drain", "-p", "0000:1b:00.0", "-m", "1").returncode == 0
    done = smi(gpus)
    assert (done.returncode, done.stdout) == (6, "No devices were found\n")
    assert "is: draining" in smi(gpus, "drain", "-p", "0000:1b:00.0", "-q").stdout


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("driver_unloaded", 9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
        ("version_mismatch", 18, "Failed to initialize NVML: Driver/library version mismatch"),
        ("lost", 15, "GPU is lost"),
    ],
)
def test_a_broken_driver_is_told_in_the_known_words(what: str, code: int, words: str, make: Any) -> None:
    gpus = make()
    gpus.inject(what, 0)
    done = smi(gpus, "-L")
    assert done.returncode == code
    assert words in done.stdout


def test_without_the_library_it_says_so(make: Any) -> None:
    done = smi(make(), LD_LIBRARY_PATH="/nowhere")
    assert done.returncode == 12
    assert "couldn't find libnvidia-ml.so" in done.stdout


@pytest.mark.parametrize("arguments", [["--query-gpu=name"], ["--frobnicate"], ["-c", "SOMETIMES"], ["drain"]])
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], make: Any) -> None:
    assert smi(make(), *arguments).returncode == 2


def test_an_unknown_field_is_named(make: Any) -> None:
    done = smi(make(), "--query-gpu=name,mood", "--format=csv")
    assert done.returncode == 2
    assert 'Field "mood" is not a valid field to query.' in done.stdout
