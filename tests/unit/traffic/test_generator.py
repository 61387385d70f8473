# SPDX-License-Identifier: Apache-2.0
"""The generator against a service whose latencies are known. Bounds are wide: a test must hold on a busy machine."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.errors import BadArgument, NoGuard, ReadingUnknown, Refused, Unreachable
from chaosgpu.lease.run import Run
from chaosgpu.traffic import actions, probes, running
from chaosgpu.traffic.plan import TrafficPlan
from chaosgpu.traffic.series import read_series, summed
from chaosgpu.triton.http import exchange
from unit.traffic.conftest import Requests

BUSY_MS = 2000.0
SLOW = {"p99_ms": 400}


def test_a_stall_shows_in_the_tail_as_open_loop_arithmetic_says(service: str, requests: Requests, run: Run) -> None:
    rate, span_s, stall_s = 100, 4, 1
    actions.start_traffic(service, rate, span_s, requests=requests("/after/1"), late_ms=BUSY_MS)
    actions.mark_phase("during")
    exchange(service, "POST", f"/stall/{stall_s * 1000}", within_s=5)
    time.sleep(stall_s)
    actions.mark_phase("after")
    time.sleep(span_s - stall_s)
    assert 0 < probes.time_to_detect_s(SLOW) <= stall_s + 2
    assert 0 <= probes.time_to_recover_s(SLOW, stable_s=0.1) <= 2
    assert not probes.slo_holds(SLOW, phase="during")
    found = actions.stop_traffic()
    assert found["ok"] == found["due"] == rate * span_s
    # So many of all requests were due in the stall that the slowest percent waited all of it but span/100.
    assert found["p99_ms"] == pytest.approx(1000 * (stall_s - 0.01 * span_s), rel=0.15)
    assert found["p95_ms"] == pytest.approx(1000 * (stall_s - 0.05 * span_s), rel=0.15)
    assert found["p50_ms"] < 500
    assert Path(found["series"]).parent == run.directory / "series"
    series = read_series(Path(found["series"]))
    assert [line.second for line in series.lines] == [0, 1, 2, 3]
    assert sum(line.due for line in series.lines) == found["due"]
    assert summed(series.lines, series.timeout_s).latency_ms(100) == found["max_ms"]
    assert series.ended == "schedule"
    assert math.isclose(series.lines[1].at, series.started_at + 1, abs_tol=0.002)


def test_every_way_in_which_an_answer_fails_has_its_own_kind(service: str, requests: Requests) -> None:
    wanted = {
        "/after/1": None, "/bare": None, "/status/503": "rejected", "/status/429": "rejected",
        "/status/500": "server_error", "/status/404": "client_error", "/status/202": "wrong_status",
        "/wrong": "wrong", "/cut": "broken_off", "/close": "broken_off", "/garbage": "not_http", "/never": "timed_out",
    }  # fmt: skip
    found = probes.figures_at_load(service, 300, 1, requests=requests(*wanted), timeout_s=0.5, seed=2, late_ms=BUSY_MS)
    assert set(found["errors"]) == {kind for kind in wanted.values() if kind}
    assert found["due"] == 300 == found["ok"] + sum(found["errors"].values())
    assert found["ok"] == pytest.approx(300 * 2 / len(wanted), abs=30)
    assert found["wrong_because"] == "the answer is not the known one at answer"
    assert found["max_ms"] == pytest.approx(500, rel=0.01)


def test_a_refused_connection_is_counted_and_has_no_latency(service: str, requests: Requests, run: Run) -> None:
    victim = subprocess.Popen(
        [sys.executable, str(Path(__file__).parents[2] / "support/timed_service.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert victim.stdout is not None
    url = f"http://127.0.0.1:{victim.stdout.readline().strip()}"
    actions.start_traffic(url, 50, 1.5, requests=requests("/after/1"), late_ms=BUSY_MS)
    time.sleep(0.8)
    victim.kill()
    victim.communicate()
    time.sleep(0.7)
    found = actions.stop_traffic()
    assert found["errors"]["unreachable"] > 10
    assert found["ok"] > 20
    assert found["max_ms"] < 1000
    assert service
    assert run.directory.exists()


def test_a_generator_that_was_late_gives_no_figures(service: str, requests: Requests) -> None:
    with pytest.raises(ReadingUnknown, match=r"sent .* of its requests late, by up to .* the figures are void"):
        probes.figures_at_load(service, 200, 1, requests=requests("/after/1"), late_ms=0.001)


def test_a_generator_that_was_killed_leaves_the_rest_unknown(service: str, requests: Requests, run: Run) -> None:
    begun = actions.start_traffic(service, 50, 60, requests=requests("/after/1"), late_ms=BUSY_MS)
    time.sleep(1.3)
    assert probes.error_percent(last_s=1.2) == 0
    one = running.by_name("traffic")
    assert one is not None
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait(5)
    time.sleep(1.3)
    with pytest.raises(ReadingUnknown, match="its generator was killed or stands still"):
        probes.figures(last_s=2)
    assert read_series(Path(begun["series"])).ended is None
    assert run.directory.exists()


def test_the_generator_ends_when_its_controller_is_killed(service: str, requests: Requests, tmp_path: Path) -> None:
    path, asked = str(tmp_path / "orphan.jsonl"), requests("/after/1")
    plan = TrafficPlan("orphan", service, 50, 60, 5, "steady", 1, BUSY_MS, path, requests=asked)
    program = (
        "import sys, time; from chaosgpu.traffic import running; from chaosgpu.traffic.plan import TrafficPlan\n"
        "print(running.start(TrafficPlan.from_json(sys.argv[1])).process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, plan.to_json()], stdout=subprocess.PIPE, text=True
    ) as controller:
        assert controller.stdout is not None
        generator = int(controller.stdout.readline())
        assert Path(f"/proc/{generator}").exists()
        controller.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{generator}/cmdline").exists() and time.monotonic() < end:
        if Path(f"/proc/{generator}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    last = json.loads((tmp_path / "orphan.jsonl").read_text().splitlines()[-1])
    assert last["ended"] == "stopped"


def test_traffic_is_refused_without_a_guard_and_twice_under_one_name(
    service: str, requests: Requests, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(NoGuard):
        actions.start_traffic(service, 10, 10, requests=requests("/after/1"))
    request.getfixturevalue("run")
    actions.start_traffic(service, 10, 10, requests=requests("/after/1"))
    with pytest.raises(Refused, match="already under way"):
        actions.start_traffic(service, 10, 10, requests=requests("/after/1"))


def test_what_cannot_be_sent_is_one_sentence(service: str, requests: Requests, run: Run, tmp_path: Path) -> None:
    good = requests("/after/1")
    bad = tmp_path / "bad.json"
    bad.write_text('{"version": 1, "requests": [{"path": "no slash"}]}')
    wrong: dict[str, dict[str, Any]] = {
        "rate_per_s must be a number over 0": {"rate_per_s": 0, "requests": good},
        "rate_per_s must be at most 20000": {"rate_per_s": 1e6, "requests": good},
        "url must be http://HOST:PORT": {"url": "ftp://x", "requests": good},
        "Give either model": {},
        "arrival must be one of steady, poisson": {"arrival": "random", "requests": good},
        "name must be small letters": {"name": "../x", "requests": good},
        "golden is the known answer of a model": {"golden": "x.json", "requests": good},
        r"not well formed at requests\.0\.path": {"requests": str(bad)},
        "cannot be read: No such file": {"requests": str(tmp_path / "none.json")},
    }
    for match, arguments in wrong.items():
        given: dict[str, Any] = {"url": service, "rate_per_s": 5, "duration_s": 5, **arguments}
        with pytest.raises(BadArgument, match=match):
            actions.start_traffic(**given)
    with pytest.raises(Unreachable, match=r"Connection refused\. Start it while the service is up"):
        actions.start_traffic("http://127.0.0.1:9", 5, 5, requests=good)
    with pytest.raises(BadArgument, match="No traffic 'traffic' was started in this run"):
        probes.figures()
    assert run.directory.exists()
