# SPDX-License-Identifier: Apache-2.0
"""What an experiment may read of GPUs. docs/probes.md has the NVML call and the source of each threshold.

Every probe raises BadArgument (no such GPU, an index without `allow_index`, a wrong value), ReadingUnknown (this
product or driver cannot tell it: neither healthy nor failed), AgentFailed (driver not loaded, library missing or of
another version than the kernel module, GPU lost, a driver call that hung) or Unreachable (no answer in `timeout_s`).
`gpu` is a UUID or a PCI bus id; an index only with `allow_index`. `hosts` is where; a time window is added to
`timeout_s`.
"""

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.gpu.reading import of_gpu, of_host

__all__ = [
    "clock_event_reasons",
    "driver_versions",
    "ecc_uncorrected",
    "fabric_state",
    "gpu_count",
    "gpu_is_reachable",
    "gpu_processes",
    "gpu_settings",
    "is_throttled",
    "memory_slope_mib_per_min",
    "memory_used_mib",
    "memory_used_percent",
    "nvlink_errors",
    "nvlink_state",
    "pcie_link",
    "pcie_replays",
    "power_limit_watts",
    "power_watts",
    "recovery_action",
    "remapped_rows",
    "retired_pages",
    "sm_clock_mhz",
    "temperature_celsius",
    "thermal_margin_celsius",
    "throttle_time_ms",
    "utilization_percent",
    "versions_match",
    "xid_since",
]


def gpu_count(hosts: str = "localhost", timeout_s: float = 10.0) -> int:
    """Count the GPUs that answer; one that is lost is not counted.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "gpu_count", "arguments": {}}
    Threshold: any other number than the host should have is critical (Azure check_gpu_count, gpud gpu-counts).
    """
    return of_host("gpu.count", hosts, timeout_s).whole("answering")


def driver_versions(hosts: str = "localhost", timeout_s: float = 10.0) -> JsonObject:
    """Return the versions: {"driver", "nvml", "cuda", "kernel_module"}; what is not known is under "unknown".

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "driver_versions", "arguments": {}}
    """
    return of_host("gpu.versions", hosts, timeout_s).some("driver", "nvml", "cuda", "kernel_module")


def versions_match(hosts: str = "localhost", timeout_s: float = 10.0) -> bool:
    """Tell whether the driver's library and its kernel module are of one version, as the driver itself judges.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "versions_match", "arguments": {}}
    Threshold: false is critical, no new CUDA process can start (NVML error 18).
    """
    return of_host("gpu.versions", hosts, timeout_s).flag("match")


def gpu_is_reachable(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> bool:
    """Tell whether the GPU answers; lost (NVML 15) and waiting for a reset (16) are no.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "gpu_is_reachable", "arguments": {"gpu": "GPU-5c0f"}}
    Threshold: false is critical (gpud: reboot).
    """
    return of_gpu("gpu.reachable", gpu, hosts, timeout_s, allow_index).flag("reachable")


def memory_used_percent(
    gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> float:
    """Return the used memory in percent of the total, without what the driver keeps for itself.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "memory_used_percent", "arguments": {"gpu": "GPU-5c"}}
    No fixed threshold: vLLM holds about 90 % on purpose (its guides warn at 85 and 95 %). Compare with a baseline.
    """
    return of_gpu("gpu.memory", gpu, hosts, timeout_s, allow_index).number("used_percent")


def memory_used_mib(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> float:
    """Return the used memory in MiB, without what the driver keeps for itself.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "memory_used_mib", "arguments": {"gpu": "GPU-5c0f"}}
    Threshold: over 15 MiB on a GPU that should be idle is a leak (Meta's GCM idle check).
    """
    return of_gpu("gpu.memory", gpu, hosts, timeout_s, allow_index).number("used_mib")


def memory_slope_mib_per_min(  # noqa: PLR0917 (experiments pass them by name)
    gpu: str,
    window_s: float = 5.0,
    samples: int = 5,
    hosts: str = "localhost",
    timeout_s: float = 10.0,
    allow_index: bool = False,
) -> float:
    """Return by how many MiB a minute the used memory grows: the least-squares line through `samples` in `window_s`.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "memory_slope_mib_per_min",
     "arguments": {"gpu": "GPU-5c0ffee0", "window_s": 10, "samples": 20}}
    Threshold: over 0 for long is a leak; how much is the service's own matter. `window_s` is 60 at most.
    """
    lasts_s = seconds("window_s", window_s)
    asked = of_gpu(
        "gpu.memory", gpu, hosts, timeout_s, allow_index, lasts_s=lasts_s, window_s=window_s, samples=samples
    )
    return asked.number("slope_mib_per_min")


def utilization_percent(  # noqa: PLR0917 (experiments pass them by name)
    gpu: str,
    window_s: float = 0.0,
    samples: int = 5,
    hosts: str = "localhost",
    timeout_s: float = 10.0,
    allow_index: bool = False,
) -> float:
    """Return how busy the GPU is in percent: now, or the mean of `samples` in `window_s` (60 s at most).

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "utilization_percent",
     "arguments": {"gpu": "GPU-5c0ffee0", "window_s": 5}}
    Threshold: 0 or 100 without one finished request is a hang; the number alone says nothing.
    """
    if window_s == 0:
        return of_gpu("gpu.utilization", gpu, hosts, timeout_s, allow_index).number("gpu_percent")
    lasts_s = seconds("window_s", window_s)
    asked = of_gpu(
        "gpu.utilization", gpu, hosts, timeout_s, allow_index, lasts_s=lasts_s, window_s=window_s, samples=samples
    )
    return asked.number("mean_percent")


def temperature_celsius(
    gpu: str, sensor: str = "gpu", hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> float:
    """Return the temperature in °C of the chip (`sensor` "gpu") or of its memory ("memory").

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "temperature_celsius", "arguments": {"gpu": "GPU-5c"}}
    Threshold: the device's own; see `thermal_margin_celsius`. Fixed ones differ: 85 °C by many guides, CycleCloud 93.
    """
    names = {"gpu": "celsius", "memory": "memory_celsius"}
    if sensor not in names:
        raise BadArgument(f'sensor must be "gpu" or "memory", not {sensor!r}; nothing was asked.')
    return of_gpu("gpu.temperature", gpu, hosts, timeout_s, allow_index).number(names[sensor])


def thermal_margin_celsius(
    gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> float:
    """Return how many °C are left to the first of the device's own thresholds that slows it down.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "thermal_margin_celsius", "arguments": {"gpu": "GPU-5"}}
    Threshold: below 0 is degraded, 5 to 10 is a good warning (gpud, which compares with GPU_MAX).
    """
    return of_gpu("gpu.temperature", gpu, hosts, timeout_s, allow_index).number("margin_celsius")


def clock_event_reasons(
    gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> JsonObject:
    """Return what holds the clocks down: {"bad_reasons": [...], "benign_reasons": [...]}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "clock_event_reasons", "arguments": {"gpu": "GPU-5c"}}
    Bad are hardware slowdown, both thermal slowdowns and power brake: 0xE8, the mask of Azure CycleCloud's agent.
    """
    return of_gpu("gpu.clocks", gpu, hosts, timeout_s, allow_index).some("bad_reasons", "benign_reasons")


def is_throttled(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> bool:
    """Tell whether a bad reason holds the clocks down now; idleness, a power cap and a clock lock are not bad.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "is_throttled", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: the bits 0xE8 (Azure CycleCloud's agent). One sample can miss it: see `throttle_time_ms`.
    """
    return bool(of_gpu("gpu.clocks", gpu, hosts, timeout_s, allow_index).value("bad_reasons"))


def throttle_time_ms(  # noqa: PLR0917 (experiments pass them by name)
    gpu: str,
    window_s: float = 5.0,
    cause: str = "thermal",
    hosts: str = "localhost",
    timeout_s: float = 10.0,
    allow_index: bool = False,
) -> float:
    """Return for how many ms of `window_s` (60 s at most) a cause held the clocks down, from the driver's counters.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "throttle_time_ms",
     "arguments": {"gpu": "GPU-5c0ffee0", "window_s": 10, "cause": "power"}}
    `cause` is power, thermal, board_limit, reliability, sw_thermal, hw_thermal or power_brake.
    Threshold: over 0 is throttled; a counter misses nothing between two samples.
    """
    causes = ("power", "thermal", "board_limit", "reliability", "sw_thermal", "hw_thermal", "power_brake")
    if cause not in causes:
        raise BadArgument(f"cause must be one of {', '.join(causes)}, not {cause!r}; nothing was asked.")
    lasts_s = seconds("window_s", window_s)
    answer = of_gpu("gpu.throttle", gpu, hosts, timeout_s, allow_index, lasts_s=lasts_s, window_s=window_s)
    answer.number(f"{cause}_ms")
    return answer.nested("added").number(f"{cause}_ms")


def sm_clock_mhz(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> float:
    """Return the clock of the streaming multiprocessors in MHz.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "sm_clock_mhz", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: under load, below 80 % of the maximum is slow (our own choice; an idle GPU lowers it on purpose).
    """
    return of_gpu("gpu.clocks", gpu, hosts, timeout_s, allow_index).number("sm_mhz")


def power_watts(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> float:
    """Return the power that the board draws, in W.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "power_watts", "arguments": {"gpu": "GPU-5c0ffee0"}}
    """
    return of_gpu("gpu.power", gpu, hosts, timeout_s, allow_index).number("watts")


def power_limit_watts(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> float:
    """Return the power limit that is set, in W.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "power_limit_watts", "arguments": {"gpu": "GPU-5c0f"}}
    Threshold: below the product's default is capped (`gpu.power` of the agent says "capped").
    """
    return of_gpu("gpu.power", gpu, hosts, timeout_s, allow_index).number("limit_watts")


def ecc_uncorrected(
    gpu: str, counter: str = "volatile", hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> int:
    """Count the uncorrected ECC errors since the driver was loaded ("volatile") or over the GPU's life ("aggregate").

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "ecc_uncorrected", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: over 0 is critical (Meta's GCM). Unknown where ECC is off or the product has none.
    """
    if counter not in ("volatile", "aggregate"):
        raise BadArgument(f'counter must be "volatile" or "aggregate", not {counter!r}; nothing was asked.')
    return of_gpu("gpu.ecc", gpu, hosts, timeout_s, allow_index).whole(f"uncorrected_{counter}")


def remapped_rows(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Return the remapped rows of memory: {"corrected", "uncorrected", "pending", "failure"}; Ampere and later.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "remapped_rows", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: pending needs a reset (Azure, gpud), failure a new board; DCGM allows 512 uncorrected.
    """
    names = ("corrected", "uncorrected", "pending", "failure")
    return of_gpu("gpu.remapped_rows", gpu, hosts, timeout_s, allow_index).some(*names)


def retired_pages(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Return the retired pages of memory: {"single_bit", "double_bit", "pending"}; before Ampere.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "retired_pages", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: over 10 (Meta's GCM), or over 63, of which over 15 for single-bit errors (DCGM).
    """
    return of_gpu("gpu.retired_pages", gpu, hosts, timeout_s, allow_index).some("single_bit", "double_bit", "pending")


def recovery_action(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> str:
    """Return what the driver wants done: none, gpu_reset, node_reboot, drain_p2p, drain_and_reset and newer ones.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "recovery_action", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: anything but none is critical (nvml.h, field 230): the best single sign of health on newer drivers.
    """
    return of_gpu("gpu.recovery_action", gpu, hosts, timeout_s, allow_index).text("action")


def pcie_link(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Return the PCIe link: {"generation", "max_generation", "width", "max_width", "under_load", "degraded"}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "pcie_link", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: below the maximum under load is degraded (Azure, IBM Autopilot). An idle link runs at a lower
    generation: then "degraded" is under "unknown".
    """
    names = ("generation", "max_generation", "width", "max_width", "under_load", "degraded")
    return of_gpu("gpu.pcie", gpu, hosts, timeout_s, allow_index).some(*names)


def pcie_replays(
    gpu: str, window_s: float = 0.0, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False
) -> float:
    """Count the PCIe replays since the driver was loaded, or return replays a minute over `window_s` (60 s at most).

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "pcie_replays", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: 0.15, 0.3, 0.48, 0.96, 1.92, 3.84 a minute and lane for generation 1 to 6 (DCGM).
    """
    if window_s == 0:
        return of_gpu("gpu.pcie", gpu, hosts, timeout_s, allow_index).number("replays")
    lasts_s = seconds("window_s", window_s)
    answer = of_gpu("gpu.pcie", gpu, hosts, timeout_s, allow_index, lasts_s=lasts_s, window_s=window_s)
    return answer.number("replays_per_min")


def nvlink_state(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Count the NVLinks: {"active", "inactive"}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "nvlink_state", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: any inactive link fails (Azure). Unknown where the GPU has no NVLink.
    """
    return of_gpu("gpu.nvlink", gpu, hosts, timeout_s, allow_index).some("active", "inactive")


def nvlink_errors(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Sum the NVLink errors over all links: {"replay", "recovery", "crc_flit", "crc_data"}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "nvlink_errors", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: 1 is a warning, 100 CRC errors a second fail (DCGM).
    """
    return of_gpu("gpu.nvlink", gpu, hosts, timeout_s, allow_index).nested("errors").values


def fabric_state(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> str:
    """Return how far the GPU has joined its NVSwitch fabric: not_started, in_progress or completed.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "fabric_state", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: anything but completed fails on NVSwitch hosts (nvml.h). Unknown on others.
    """
    return of_gpu("gpu.fabric", gpu, hosts, timeout_s, allow_index).text("state")


def gpu_processes(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Return the processes on the GPU: {"count", "orphans", "processes": [{"pid", "name", "used_mib", ...}]}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "gpu_processes", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: an orphan (it holds memory and is not in /proc) is a leak that only a reset ends.
    """
    return of_gpu("gpu.processes", gpu, hosts, timeout_s, allow_index).some("count", "orphans", "processes")


def xid_since(  # noqa: PLR0917 (experiments pass them by name)
    gpu: str,
    within_s: float = 300.0,
    since_sequence: int = 0,
    listen_s: float = 0.0,
    hosts: str = "localhost",
    timeout_s: float = 10.0,
    allow_index: bool = False,
) -> JsonObject:
    """Return the Xid errors in the kernel log of the last `within_s`, and those that NVML sends in `listen_s` from now.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "xid_since",
     "arguments": {"gpu": "GPU-5c0ffee0", "within_s": 60}}
    Returns {"count", "events": [{"xid", "from_kernel", "text", ...}], "next_sequence", "heard": [...]}.
    `next_sequence` is the `since_sequence` of a later call. "from_kernel" is false where a program wrote the line.
    Threshold: which Xid means what is NVIDIA's Xid catalogue; 48 74 79 95 119 120 140 fail (DCGM).
    """
    params: JsonObject = {"within_s": within_s, "since_sequence": since_sequence}
    if listen_s:
        params["listen_s"] = seconds("listen_s", listen_s)
    answer = of_gpu("gpu.xid", gpu, hosts, timeout_s, allow_index, lasts_s=listen_s, **params)
    return answer.some("count", "events", "next_sequence", *(["heard"] if listen_s else []))


def gpu_settings(gpu: str, hosts: str = "localhost", timeout_s: float = 10.0, allow_index: bool = False) -> JsonObject:
    """Return the modes: {"persistence", "compute_mode", "mig_enabled", "mig_pending", "ecc_enabled", "ecc_pending"}.

    {"type": "python", "module": "chaosgpu.gpu.probes", "func": "gpu_settings", "arguments": {"gpu": "GPU-5c0ffee0"}}
    Threshold: another mode than the fleet should have; persistence off is a warning (Azure, gpud).
    """
    names = ("persistence", "compute_mode", "mig_enabled", "mig_pending", "ecc_enabled", "ecc_pending")
    return of_gpu("gpu.modes", gpu, hosts, timeout_s, allow_index).some(*names)
