# SPDX-License-Identifier: Apache-2.0
"""The watch with a clock of our own, what is a change of a configuration, and the activities as they are declared."""

import io
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, NoGuard
from chaosgpu.fleet.values import JsonValue
from chaosgpu.triton import actions, override, probes
from chaosgpu.triton.golden import Case, Golden
from chaosgpu.triton.tensors import Tensor
from chaosgpu.triton.watch import Sample, Watch, summary
from unit.triton.services import inferred, pages

_IN = Tensor("IN", "FP32", (1,), (0.5,))
_OUT = Tensor("OUT", "FP32", (1,), (2.0,))
_GOLDEN = Golden("m", (Case((_IN,), (_OUT,), batched=False),), {}, 50)


class Clock:
    """Time that passes only by sleeping."""

    now_s = 100.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_watch_samples_by_the_clock_and_writes_each_sample_at_once(caplog: pytest.LogCaptureFixture) -> None:
    wrong = Tensor("OUT", "FP32", (1,), (3.0,))
    answers = iter([inferred(_OUT), inferred(wrong), inferred(_OUT)])
    table = {
        ("GET", "/v2/health/ready"): lambda: (200, ""),
        ("GET", "/v2/models/m/config"): lambda: (200, {}),
        ("POST", "/v2/models/m/infer"): lambda: (200, next(answers)),
        ("GET", "/metrics"): lambda: (200, 'nv_inference_pending_request_count{model="m",version="1"} 7\n'),
    }
    clock, series = Clock(), io.StringIO()
    with pages({**table}) as url, caplog.at_level("INFO", logger="chaostoolkit"):
        watch = Watch(url, url, _GOLDEN, 2.0, lambda: 93.4, random.Random(1), clock.now, clock.sleep)
        samples = watch.run(3.0, 1.0, series)
    assert [sample.after_s for sample in samples] == [0.0, 1.0, 2.0]
    assert [sample.right for sample in samples] == [True, False, True]
    assert [json.loads(line)["after_s"] for line in series.getvalue().splitlines()] == [0.0, 1.0, 2.0]
    assert caplog.messages[1] == (
        "+1 s  VRAM 93 %  health check: ready  canary: output OUT differs in 1 of 1 values, by up to 1  pending 7"
    )
    assert summary(samples, None) == {
        "samples": 3,
        "ready_true": 3,
        "canary_right": 2,
        "canary_wrong": 1,
        "first_wrong_after_s": 1.0,
        "recovered_after_s": 2.0,
        "max_pending": 7,
        "series": None,
    }


def _sample(after_s: float, *, right: bool) -> Sample:
    return Sample(after_s, ready=True, right=right, why=None, latency_s=0.1, pending=None, vram_used_percent=None)


def test_a_canary_that_is_wrong_again_has_not_recovered() -> None:
    turns = [True, False, True, False]
    found = summary([_sample(float(at), right=right) for at, right in enumerate(turns)], Path("x"))
    assert (found["first_wrong_after_s"], found["recovered_after_s"], found["max_pending"]) == (1.0, None, None)


def test_what_cannot_be_known_is_shown_as_unknown() -> None:
    line = _sample(3.0, right=True).line()
    assert line == "+3 s  VRAM unknown  health check: ready  canary: right in 0.10 s  pending unknown"


@pytest.mark.parametrize(
    ("found", "wanted", "lacking"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": "100000"}, {"a": 100000}, []),  # Triton writes 64-bit numbers as text
        ({"a": "true"}, {"a": True}, ["a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b[1]"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({}, {"a": {"b": 1}}, ["a.b"]),
        ({"a": None}, {"a": "None"}, ["a"]),
    ],
)
def test_only_a_value_that_is_there_counts_as_changed(found: JsonValue, wanted: JsonValue, lacking: list[str]) -> None:
    assert override.missing(found, wanted) == lacking


def test_a_patch_merges_objects_and_replaces_everything_else() -> None:
    before: dict[str, JsonValue] = {"a": {"b": 1, "c": 2}, "d": [1, 2]}
    assert override.patched(before, {"a": {"b": 3}, "d": [4]}) == {"a": {"b": 3, "c": 2}, "d": [4]}
    assert before == {"a": {"b": 1, "c": 2}, "d": [1, 2]}


def test_actions_check_their_values_before_anything_is_asked() -> None:
    url = "http://127.0.0.1:1"
    with pytest.raises(BadArgument, match="patch must be an object"):
        actions.override_config(url, "chat", {})
    with pytest.raises(NoGuard):
        actions.restore_config(url, "chat")
    with pytest.raises(BadArgument, match="runs must be a whole number"):
        probes.learn_canary(url, "chat", "x.json", runs=1)
    with pytest.raises(BadArgument, match="timeout_s must be a number of seconds over 0"):
        probes.pending_count(url, "chat", timeout_s=0)
    with pytest.raises(BadArgument, match="window_s must be a number of seconds over 0"):
        probes.progress(url, "chat", window_s=-1)


def test_importing_probes_and_actions_loads_no_client() -> None:
    script = (
        "import sys, chaosgpu.triton.probes, chaosgpu.triton.actions;"
        "print([name for name in ('http.client', 'chaosgpu.triton.http', 'chaosgpu.lease.run') if name in sys.modules])"
    )
    base = "import sys; import chaosgpu.errors; print('http.client' in sys.modules)"
    loaded_before = subprocess.run([sys.executable, "-c", base], capture_output=True, text=True, check=True).stdout
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.strip() == ("['http.client']" if "True" in loaded_before else "[]")
