# SPDX-License-Identifier: Apache-2.0
"""What the simulated H100 answers is what a real one answered, or differs for a reason that docs/real-gpu.md names.

`recorded_h100.jsonl` is what `tests/gpu/recorder.py` wrote on an NVIDIA H100 80GB HBM3, without what is one card's own.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.sim.instance import Instance

HERE = Path(__file__).parent
RECORDED = HERE / "recorded_h100.jsonl"
RECORDER = HERE.parents[1] / "gpu" / "recorder.py"
PAGE = HERE.parents[2] / "docs" / "real-gpu.md"
_FUNCTION_NOT_FOUND, _NOT_SUPPORTED = 13, 3

type Answer = dict[str, Any]


def _is(*names: str) -> Callable[[str, Answer, Answer], bool]:
    pattern = re.compile("|".join(names))
    return lambda call, _real, _simulated: pattern.fullmatch(call) is not None


# Why an answer may differ; the first that fits counts. Each has its row in docs/real-gpu.md.
REASONS: dict[str, Callable[[str, Answer, Answer], bool]] = {
    "the simulator does not have the function": lambda _call, _real, simulated: (
        simulated.get("code") == _FUNCTION_NOT_FOUND
    ),
    "the virtual machine hides it": _is(
        r"nvmlDeviceGetNvLink.*",
        r"nvmlDeviceGetGpuFabricInfoV.*",
        r"field (11|12|22|23|38|45|52|59|90|91|16[1-5])",
        r"nvmlDeviceGetMaxMigDeviceCount\(\)",
    ),
    "the simulator does not have the field": lambda call, real, simulated: (
        call.startswith("field ") and simulated.get("code") == _NOT_SUPPORTED and real.get("code") != _NOT_SUPPORTED
    ),
    "it is of this card and its place": _is(
        r"nvmlDeviceGetPciInfo(_v3)?\(\)", r"nvmlDeviceGetVbiosVersion\(\)", r"nvmlSystemGet\w+Version(_v2)?\(\)"
    ),
    "it moves by itself": _is(
        r"nvmlDeviceGet(MarginTemperature|PowerUsage|TotalEnergyConsumption)\(\)",
        r"nvmlDeviceGetTemperature\(0\)",
        r"nvmlDeviceGetViolationStatus\([0-35]\)",
        r"field (82|83|185|186|191)",
    ),
    "the simulator counts no time of low load": _is(r"field 78", r"nvmlDeviceGetViolationStatus\(4\)"),
    "the simulator's bus is still": _is(r"nvmlDeviceGetPcieThroughput\([01]\)", r"nvmlDeviceGetBAR1MemoryInfo\(\)"),
    "the simulator's video clock falls with the others": _is(r"nvmlDeviceGetClockInfo\(3\)"),
}


@pytest.fixture
def differences(make: Callable[..., Instance], tmp_path: Path) -> dict[str, tuple[Answer, Answer]]:
    """Ask a simulated H100 all that the real one was asked, and return what it answers otherwise, with both answers."""
    gpus = make("h100")
    into = tmp_path / "recorded.jsonl"
    words = [sys.executable, str(RECORDER), str(gpus.show()[0]["identity"]["uuid"]), str(into)]
    subprocess.run(words, check=True, timeout=60, env={**os.environ, **gpus.environment()})
    real, simulated = _answers(RECORDED), _answers(into)
    return {
        call: (real[call], simulated[call]) for call in real.keys() & simulated.keys() if real[call] != simulated[call]
    }


def _answers(path: Path) -> dict[str, Answer]:
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {line.pop("call"): line for line in lines if "asking" not in line}


def test_a_simulated_h100_answers_as_a_real_one_or_for_a_named_reason_not(
    differences: dict[str, tuple[Answer, Answer]],
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    unexplained, used = {}, set()
    for call, answers in differences.items():
        reason = next((reason for reason, fits in REASONS.items() if fits(call, *answers)), None)
        if reason is None:
            unexplained[call] = answers
        else:
            used.add(reason)
    assert unexplained == {}
    assert used == set(REASONS), "a reason that explains nothing any more is to be taken out, here and in the page"
    assert [reason for reason in REASONS if f"| {reason} |" not in page] == []


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("nvmlDeviceGetMemoryInfo(33554472)", {"total": 85520809984, "reserved": 503316480}),
        ("nvmlDeviceGetTemperatureThreshold(0)", 95),
        ("nvmlDeviceGetSupportedMemoryClocks()", [2619, 1593]),
        ("nvmlDeviceGetSupportedEventTypes()", 0xFF9F),
        ("nvmlDeviceGetSupportedClocksEventReasons()", 0x1FF),
        ("nvmlDeviceGetFanSpeed_v2(0)", 2),
        ("nvmlDeviceGetViolationStatus(6)", 2),
        ("field 193", -8),
    ],
)
def test_what_the_simulator_had_wrong_is_as_the_card_says(call: str, answer: object, differences: Any) -> None:
    assert call not in differences
    real = _answers(RECORDED)[call]
    said: Any = real.get("value", real.get("code"))
    assert (answer.items() <= said.items()) if isinstance(answer, dict) else said == answer
