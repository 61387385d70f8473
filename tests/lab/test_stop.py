# SPDX-License-Identifier: Apache-2.0
"""Stopping a real Triton: the whole service freezes and goes on; a stopped stub alone would have killed the server."""

import json
import os
import subprocess
import sys

import pytest

from chaosgpu.agent.values import JsonObject
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lab.plan import LabPlan
from chaosgpu.triton import probes
from lab.helpers import until


def _agent(lab: LabPlan, verb: str, request: JsonObject) -> JsonObject:
    done = subprocess.run(
        [sys.executable, "-m", "chaosgpu.agent", verb],
        input=json.dumps({"protocol": 1, **request}),
        env={**os.environ, **lab.exported},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answer: JsonObject = json.loads(done.stdout)
    return answer


def _ready(lab: LabPlan) -> bool:
    try:
        return bool(probes.server_is_ready(lab.url, timeout_s=1))
    except ChaosGpuError:
        return False


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:  # noqa: PTH123 (a kernel file)
        return stat.read().rsplit(") ", 1)[1][0]


def test_a_stopped_service_hangs_and_goes_on_where_it_was(quiet: LabPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSGPU_CANARY", quiet.exported["CHAOSGPU_CANARY"])
    reading = _agent(quiet, "read", {"reading": "gpu.processes", "params": {"gpu": quiet.gpu}})
    stub = reading["values"]["processes"][0]["pid"]  # type: ignore[index, call-overload]  # JSON
    assert isinstance(stub, int)
    request: JsonObject = {
        "fault": "gpu.process.stop", "params": {"gpu": quiet.gpu, "pid": stub},
        "ttl_s": 60, "max_duration_s": 60, "run": "stop-test",
    }  # fmt: skip
    answer = _agent(quiet, "apply", request)
    assert answer.get("state") == "active", answer
    assert not _ready(quiet), "the server answered, so only a part of the service was stopped"
    assert _state(stub) == "T"

    undone = _agent(quiet, "undo", {"lease": answer["lease"]})
    assert undone["leases"][0]["state"] == "clean", undone  # type: ignore[index, call-overload]  # JSON
    assert until(lambda: _ready(quiet), 5)
    # The next requests are what aborts a server whose stub alone was stopped and continued.
    assert all(probes.canary_is_right(quiet.url, "chat", within_s=5) for _ in range(5))
    assert _state(stub) != "T"
