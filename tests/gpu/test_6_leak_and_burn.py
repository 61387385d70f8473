# SPDX-License-Identifier: Apache-2.0
"""gpu.memory.leak has the rate that was asked for; gpu.burn makes the card busy; both end with their lease."""

import statistics
import time
from typing import Any

import pynvml as nvml
import pytest

from gpu import notes
from gpu.card import MIB, Card, until


@pytest.mark.parametrize("rate_mib_s", [400, 4000])
def test_a_leak_grows_at_the_rate_that_was_asked(card: Card, rate_mib_s: int) -> None:
    lease = f"leak-{rate_mib_s}"
    answer = card.apply("gpu.memory.leak", lease, 30, rate_mib_s=rate_mib_s)
    assert answer.get("state") == "active", answer
    samples = []
    start = time.monotonic()
    while time.monotonic() - start < 4:
        samples.append((time.monotonic(), card.memory().used / MIB))
        time.sleep(0.05)
    assert card.undo(lease)["state"] == "clean"
    slope = statistics.linear_regression([at for at, _ in samples], [used for _, used in samples]).slope
    notes.keep(f"leak {rate_mib_s}", {"answer": answer, "samples": samples[:: max(1, len(samples) // 40)]})
    notes.shown(f"leak of {rate_mib_s} MiB/s: measured", slope, "MiB/s")
    notes.at_most(f"leak of {rate_mib_s} MiB/s: off the rate", abs(slope / rate_mib_s - 1) * 100, "%", 5)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(("duty", "lasts_s"), [(100, 14.0), (50, 7.0)])
def test_a_burn_makes_the_card_busy_and_ends_with_its_lease(card: Card, duty: int, lasts_s: float) -> None:
    idle = _look(card)
    start = time.monotonic()
    answer = card.apply("gpu.burn", f"burn-{duty}", lasts_s, duty_percent=duty)
    took = time.monotonic() - start
    assert answer.get("state") == "active", answer
    left_s, began = float(answer["expires_in_s"]), time.monotonic()
    samples: list[dict[str, Any]] = []
    first_us = 0
    while time.monotonic() - began < left_s - 0.5:
        samples.append({"at": round(time.monotonic() - began, 2), **_look(card), "from 0": _processes(card, 0)})
        if len(samples) == 1:
            first_us = max((one[1] for one in samples[0]["from 0"]), default=0)
        samples[-1]["since the first"] = _processes(card, first_us) if first_us else []
        time.sleep(0.25)
    gone = until(lambda: not card.holders(f"burn-{duty}"), 6 + 0.5)
    late = time.monotonic() - began - left_s
    calm = until(lambda: _look(card)["utilization"] == 0, 5)
    state = until(lambda: card.state(f"burn-{duty}") == "clean", 5)
    report = card.record(f"burn-{duty}")
    notes.keep(f"burn {duty}", {"answer": answer, "idle": idle, "samples": samples, "record": report})
    name = f"burn at {duty} %"
    second_half = samples[len(samples) // 2 :]
    busy = statistics.mean(one["utilization"] for one in second_half)
    notes.shown(f"{name}: from apply to active", took, "s")
    # Nobody else is on the card, so what the agent says of its process is what the card says of itself.
    ours, whole = answer["observed"]["holder_utilization_percent"], answer["observed"]["utilization_percent"]
    notes.at_most(f"{name}: its process's utilisation, off the card's", abs(ours - whole), "%", 20)
    notes.shown(f"{name}: utilisation at the start", idle["utilization"], "%")
    notes.at_least(f"{name}: utilisation, mean of its second half", busy, "%", duty * 0.8)
    notes.shown(f"{name}: power at the start", idle["watts"], "W")
    notes.shown(f"{name}: power at the most", max(one["watts"] for one in samples), "W")
    notes.shown(f"{name}: temperature at the start", idle["celsius"], "°C")
    notes.shown(f"{name}: temperature at the most", max(one["celsius"] for one in samples), "°C")
    notes.shown(f"{name}: SM clock at the most", max(one["sm_mhz"] for one in samples), "MHz")
    assert gone is not None
    assert state is not None, report
    notes.at_most(f"{name}: its process gone after the deadline", late, "s", 5)
    notes.shown(f"{name}: utilisation 0 again after", -1.0 if calm is None else calm, "s")


def _processes(card: Card, since_us: int) -> list[tuple[int, int, int]]:
    """Return pid, time and utilisation of each process, as the driver has them since a time of its own."""
    try:
        found = nvml.nvmlDeviceGetProcessUtilization(card.handle, since_us)
    except nvml.NVMLError:
        return []
    return [(int(one.pid), int(one.timeStamp), int(one.smUtil)) for one in found]


def _look(card: Card) -> dict[str, float]:
    return {
        "utilization": int(nvml.nvmlDeviceGetUtilizationRates(card.handle).gpu),
        "watts": nvml.nvmlDeviceGetPowerUsage(card.handle) / 1000,
        "celsius": int(nvml.nvmlDeviceGetTemperature(card.handle, nvml.NVML_TEMPERATURE_GPU)),
        "sm_mhz": int(nvml.nvmlDeviceGetClockInfo(card.handle, nvml.NVML_CLOCK_SM)),
    }
