# SPDX-License-Identifier: Apache-2.0
"""Alerts of a real Prometheus through a real Alertmanager to a pager, over a figure that the test turns."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chaosgpu.alerts import actions, probes
from chaosgpu.lab.alerting import RECEIVER, laid_out, wait_until_ready
from chaosgpu.lease.run import Run
from chaosgpu.traffic.actions import mark_phase
from lab.helpers import until

_RULES = {"Slow": "lab_slow > 0", "Wrong": "lab_wrong > 0", "Quiet": "lab_quiet > 0"}


@dataclass
class Watched:
    """What Prometheus sees, and where the pages go."""

    pages: Path
    figures: dict[str, int] = field(default_factory=lambda: {"lab_slow": 0, "lab_wrong": 0, "lab_quiet": 0})

    def paged(self) -> list[str]:
        lines = self.pages.read_text().splitlines() if self.pages.exists() else []
        return [page["alert"] for page in map(json.loads, lines) if page["status"] == "firing"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("alerting")
    seen = Watched(folder / "pages.jsonl")

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write("".join(f"{name} {value}\n" for name, value in seen.figures.items()).encode())

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    plan = laid_out(folder, {"test": f"127.0.0.1:{server.server_port}"}, _RULES, lambda _line: None)
    processes = [
        subprocess.Popen(
            one.command, env=one.environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for one in plan.services
    ]
    before = dict(os.environ)
    os.environ.update(plan.exported)
    try:
        wait_until_ready(plan.exported, lambda _line: None)
        yield seen
    finally:
        os.environ.clear()
        os.environ.update(before)
        for process in processes:
            process.kill()
            process.wait()
        server.shutdown()
        server.server_close()


def test_alerts_fire_are_silenced_and_stay_quiet_as_expected_and_the_pager_agrees(
    watched: Watched, guarded_run: Run
) -> None:
    silenced = actions.silence_alert("Wrong", 60)
    watched.figures |= {"lab_slow": 1, "lab_wrong": 1}
    mark_phase("during")
    expected = {"Slow": "fires", "Wrong": "silenced", "Quiet": "does not fire"}
    found = probes.alerts(expected, within_s=15, receiver=RECEIVER)
    assert found["as_expected"], found
    assert 2 <= found["alerts"]["Slow"]["after_s"] < 16
    assert found["alerts"]["Wrong"]["silenced_by"] == [silenced["silence"]]
    assert until(lambda: watched.paged() == ["Slow"], 5), watched.paged()
    # What is expected of an alert is compared, not only looked for.
    assert not probes.alerts_as_expected({"Wrong": "fires"}, within_s=0.1)
    assert not probes.alert_fired("Quiet", within_s=0.1)
    # A silence ends with the run, and then the page comes.
    guarded_run.put_back("end")
    assert [entry for entry in guarded_run.ledger.path.read_text().splitlines() if '"silence.ended"' in entry]
    assert until(lambda: "Wrong" in watched.paged(), 10)
