# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu drill` as people call it: real `chaos run`, real ssh-keygen, the tiny agent, a webhook that listens."""

import datetime as dt
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaosgpu.cli.main import main
from support.chaos import TESTS, experiment, python
from support.drills import World

COMMAND = str(Path(sys.executable).with_name("chaosgpu"))
LONGEST_S = 180
RUNTIME = {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "default"}}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Listen, and keep what comes."""
    found: list[dict[str, Any]] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", found
    server.shutdown()
    thread.join()
    server.server_close()


class Site:
    """A folder with a site, a plan that is open now, and the command."""

    def __init__(self, world: World, capture: pytest.CaptureFixture[str]) -> None:
        self.world, self.folder, self.capture = world, world.folder, capture
        for name in ("agent", "home"):
            (self.folder / name).mkdir()
        settings = {"evidence": "evidence", "drills": "drills", "allowed_signers": str(world.people.allowed_signers)}
        (self.folder / "site.yaml").write_text(yaml.safe_dump(settings))

    def plan(self, method: list[dict[str, Any]], **changes: Any) -> Path:
        (self.folder / "tiny.json").write_text(json.dumps(experiment(method, runtime=RUNTIME)))
        now = dt.datetime.now(dt.UTC)
        clock = {"opens": now - dt.timedelta(hours=1), "closes": now + dt.timedelta(hours=2)}
        document = self.world.document(faults=["tiny.flag"], schedule=None)
        document["experiments"] = [self.world.planned("tiny.json", deadline_minutes=5, undo_minutes=2)]
        document["window"] = {
            "time_zone": "UTC",
            "first": f"{now - dt.timedelta(days=1):%Y-%m-%d}",
            "last": f"{now + dt.timedelta(days=1):%Y-%m-%d}",
            **{key: f"{value:%H:%M}" for key, value in clock.items()},
        }
        document["approvals"]["valid_until"] = f"{now + dt.timedelta(days=2):%Y-%m-%d}"
        path = self.folder / "plan.yaml"
        path.write_text(yaml.safe_dump(document | changes))
        return path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "CHAOSGPU_SITE": str(self.folder / "site.yaml"),
            "CHAOSGPU_AGENT_HOME": str(self.folder / "home"),
            "TINY_AGENT": str(self.folder / "agent"),
            "PYTHONPATH": str(TESTS),
            "LOGNAME": "alice",
            **more,
        }

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """Begin it in a process of its own."""
        kept = {key: os.environ[key] for key in list(os.environ) if key != "PYTEST_CURRENT_TEST"}
        return subprocess.Popen(
            [COMMAND, "drill", *map(str, words)],
            cwd=self.folder,
            env=kept | self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: object, **environment: str) -> tuple[int, str, str]:
        """Call it in this process, which is quicker and the same code."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for key, value in self.environment(**environment).items():
                patch.setenv(key, value)
            code = main(["drill", *map(str, words)])
        said = self.capture.readouterr()
        return code, said.out, said.err

    def approve(self, path: Path) -> None:
        code, _, err = self.call("approve", path, "--key", self.world.people.folder / "bob@lab", "--as", "bob@lab")
        assert code == 0, err

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "evidence/log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def types(self) -> list[str]:
        return [one["type"] for one in self.log]


@pytest.fixture
def site(world: World, capsys: pytest.CaptureFixture[str]) -> Site:
    return Site(world, capsys)


def test_from_the_plan_to_the_record(site: Site, hook: tuple[str, list[dict[str, Any]]]) -> None:
    path = site.plan([python("break it", "break_it")], notify={"url_from_env": "HOOK"})
    code, out, err = site.call("plan", path)
    assert code == 0, err
    assert "plan      leak: A leak on one host (level 1 of embedding)" in out
    site.approve(path)
    code, out, err = site.call("run", path, HOOK=hook[0])
    assert code == 0, out + err
    assert "FAULT tiny.flag is active on localhost" in out
    assert "DRILL 1/1 ended: passed" in out
    assert site.types == ["planned", "approved", "started", "started", "finished", "finished"]
    run = site.log[-2]["run"]
    assert len([*site.folder.glob(f"drills/*/runs/{run}/ledger.jsonl")]) == 1
    assert [one["what"] for one in hook[1]] == ["started", "finished"]
    code, out, _ = site.call("status")
    assert (code, "leak" in out, "passed" in out, "MISSING" in out) == (0, True, True, False)
    assert site.world.record.read().missing == ()
    _export_and_verify(site, run)


def _export_and_verify(site: Site, run: str) -> None:
    """Let the bundle of the run hold the plan and its approval, and verify with the auditor's own allowed signers."""
    [directory] = site.folder.glob(f"drills/*/runs/{run}")
    known = site.folder / "auditor"
    key = site.world.people.public("carol@lab")
    known.write_text(
        site.world.people.allowed_signers.read_text() + f'drills namespaces="chaosgpu-evidence-v1" {key}\n'
    )
    bundle, log = site.folder / "bundle", ["--site", str(site.folder / "evidence")]
    sign = ["--key", str(site.world.people.folder / "carol@lab"), "--identity", "drills"]
    exported = main(["evidence", "export", str(directory), "--out", str(bundle), *sign, *log])
    said = site.capture.readouterr()
    assert exported == 0, said.out + said.err
    assert (bundle / "plan/plan.yaml").read_bytes() == (site.folder / "plan.yaml").read_bytes()
    verified = main(["evidence", "verify", str(bundle), "--allowed-signers", str(known)])
    said = site.capture.readouterr()
    assert verified == 0, said.out + said.err


def test_bad_input_is_one_sentence_a_code_and_an_entry(site: Site) -> None:
    path = site.plan([python("break it", "break_it")])
    site.approve(path)
    good = path.read_text()
    cases = (
        (good.replace("opens: ", "opens: '25:00' #"), 2, "window.opens must be a time of 24 hours"),
        (good.replace("level: 1", "level: 2"), 4, "needs a passed drill of level 1 of embedding"),
        (good + "# changed\n", 4, "the signature of bob@lab does not hold for this plan"),
        ("just: this\n", 2, "the file has no key 'just'"),
        (good.replace(hashlib.sha256((site.folder / "tiny.json").read_bytes()).hexdigest(), "0" * 64), 4, "is not the"),
    )
    for number, (text, code, sentence) in enumerate(cases, start=1):
        path.write_text(text)
        ended, out, err = site.call("run", path)
        assert (ended, err.count("\n")) == (code, 1), err
        assert sentence in err
        assert "Traceback" not in out + err
        assert site.types.count("drill-skipped") == number
    assert "started" not in site.types
    assert not (site.folder / "agent/broken").exists()
    path.write_text(good)
    code, _, err = site.call("approve", path, "--key", site.world.people.folder / "alice@lab", "--as", "alice@lab")
    assert (code, err) == (
        4,
        "Refused: alice@lab is the operator of leak: somebody else must approve it. Nothing was signed.\n",
    )
    assert site.log[-1]["verb"] == "approve"
    assert site.call("run", path, LOGNAME="bob", USER="bob", SUDO_USER="bob")[0] == 4
    assert site.call("run", path)[0] == 0


def _until(path: Path) -> None:
    end = time.monotonic() + LONGEST_S
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_stop_undoes_ends_and_is_on_record_and_a_second_drill_is_refused_meanwhile(site: Site) -> None:
    waiting = site.folder / "waiting"
    path = site.plan([python("break it", "break_it"), python("wait", "wait", seconds=900, mark=str(waiting))])
    site.approve(path)
    drill = site.start("run", path)
    _until(waiting)
    assert (site.folder / "agent/broken").exists()
    code, _, err = site.call("run", path)
    assert (code, "Another drill of this machine has the host localhost" in err) == (4, True), err
    code, out, _ = site.call("status", "leak")
    assert (code, "under way" in out) == (6, True), out
    code, out, err = site.call("stop", "leak", "--reason", "users complain")
    assert code == 0, err
    assert "stopped by " in out
    said, err = drill.communicate(timeout=LONGEST_S)
    assert drill.returncode == 4, said + err
    assert not (site.folder / "agent/broken").exists()
    assert site.log[-1]["type"] == "aborted"
    assert "users complain" in site.log[-1]["reason"]


def test_a_halt_latches_the_hosts_of_a_drill_and_the_next_one_is_refused(site: Site) -> None:
    path = site.plan([])
    site.approve(path)
    assert site.call("run", path)[0] == 0
    code, out, err = site.call("stop", "leak", "--reason", "smoke", "--halt")
    assert code == 0, out + err
    assert "is not under way" in out
    assert "localhost  halted by " in out
    code, _, err = site.call("run", path)
    assert (code, "localhost is halted by" in err, "smoke" in err) == (4, True, True), err


def test_a_run_that_does_not_end_at_its_deadline_is_stopped_in_order(site: Site) -> None:
    method = [python("break it", "break_it"), python("wait", "wait", seconds=900)]
    site.plan(method)
    document = yaml.safe_load((site.folder / "plan.yaml").read_text())
    document["experiments"][0]["deadline_minutes"] = 0.1
    (site.folder / "plan.yaml").write_text(yaml.safe_dump(document))
    site.approve(site.folder / "plan.yaml")
    code, out, err = site.call("run", site.folder / "plan.yaml")
    assert code == 4, out + err
    assert "STOPPING in order: its deadline of 6 s was over" in out
    assert not (site.folder / "agent/broken").exists()
    assert site.types[-2:] == ["finished", "aborted"]


def test_what_a_run_did_not_put_back_is_residue_on_record(site: Site) -> None:
    path = site.plan([python("break it", "break_it", mode="stuck")])
    site.approve(path)
    code, out, err = site.call("run", path)
    assert code == 5, out + err
    assert site.types[-3:] == ["finished", "residue", "finished"]
    assert site.log[-2]["host"] == "localhost"


def test_a_drill_whose_controller_is_killed_is_ended_by_the_next_start_and_its_host_is_brought_back(site: Site) -> None:
    waiting = site.folder / "waiting"
    path = site.plan([python("break it", "break_it"), python("wait", "wait", seconds=900, mark=str(waiting))])
    site.approve(path)
    drill = site.start("run", path)
    _until(waiting)
    drill.kill()
    drill.communicate(timeout=LONGEST_S)
    code, out, _ = site.call("status")
    assert "DIED" in out
    assert out.count("MISSING") == 2
    code, out, err = site.call("schedule", "--check")
    assert code == 0, out + err
    assert "its controller died" in out
    assert site.types[-2:] == ["finished", "aborted"]  # the run stopped in order, the drill did not end
    assert site.log[-2]["verdict"] == "inconclusive"
    assert not (site.folder / "agent/broken").exists()


def test_what_would_be_signed_can_be_read_and_a_preview_touches_nothing(site: Site) -> None:
    path = site.plan([python("break it", "break_it")])
    code, out, _ = site.call("approve", path, "--show")
    assert code == 0
    assert json.loads(out)["faults"] == ["tiny.flag"]
    code, out, err = site.call("preview", path)
    assert code == 0, out + err
    assert "localhost  answers" in out
    assert "Slurm jobs: unknown (there is no squeue here)" in out
    assert "touch /run/chaosgpu/HALT" in out
    assert not (site.folder / "evidence").exists()
    assert not (site.folder / "drills").exists()


def test_a_schedule_is_written_put_on_record_and_ended(site: Site) -> None:
    at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=30)
    path = site.plan([python("break it", "break_it")], schedule={"at": f"{at:%H:%M}"})
    units = site.folder / "units"
    assert site.call("schedule", path, "--systemd", units)[0] == 2  # there is no such folder
    units.mkdir()
    code, out, err = site.call("schedule", path, "--systemd", units, "--user", "drills")
    assert code == 0, err
    assert "systemctl enable --now chaosgpu-drill-leak.timer chaosgpu-drills-missed.timer" in out
    assert f"due       {at:%a %Y-%m-%d %H:%M} UTC" in out
    assert len([*units.iterdir()]) == 4
    assert site.call("schedule", "--check")[:2] == (0, "every drill that was due is on record\n")
    code, out, err = site.call("schedule", path, "--awx", "drills/plan.yaml")
    assert (code, yaml.safe_load(out)["controller_schedules"][0]["name"]) == (0, "Drill leak"), err
    assert site.call("schedule", path, "--off")[0] == 0
    assert [one.get("schedule") is not None for one in site.log if one["type"] == "planned"] == [True, True]
    assert site.log[-1]["schedule"] == "off"
    code, _, err = site.call("schedule", path, "--systemd", units, CHAOSGPU_SITE="")
    assert (code, "A timer would write to another log than you do" in err) == (2, True)
