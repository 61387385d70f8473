# SPDX-License-Identifier: Apache-2.0
"""A scheduled drill on a systemd host: its timer starts it in its zone; one that an outage swallowed is on record."""

import datetime as dt
import json
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.drill_plans import CHANGE_ID, EXPERIMENT, capped, now, write_plan
from bench.hosts import BENCHES, Bench, Host
from bench.plan import ROOT, me
from chaosgpu.drill.approval import folder_of
from support.drills import People

pytestmark = pytest.mark.timeout(1500)

WITHIN_S = 300.0
COMMAND = str(Path(sys.executable).with_name("chaosgpu"))
FOLDER = "/srv/drills"
POLICY = "/etc/chaosgpu/policy.json"


@pytest.fixture(scope="module")
def controller(machine: None) -> Iterator[Host]:  # noqa: ARG001 (it says that the machine can)
    """Boot a host that sees this package and its Python, as a controller of its own."""
    bench = Bench(BENCHES / f"drill-{me().pid}")
    [host] = bench.up(1, shown=(str(ROOT), sys.base_prefix))
    try:
        host.run(["mkdir", "-p", FOLDER], check=True)
        yield host
    finally:
        bench.down()


def _write(host: Host, name: str, text: str) -> None:
    host.run(["mkdir", "-p", str(Path(f"{FOLDER}/{name}").parent)], check=True)
    host.run(["sh", "-c", f"cat > {shlex.quote(f'{FOLDER}/{name}')}"], text, check=True)


def _call(host: Host, *words: str, status: int = 0) -> str:
    given = [
        "env",
        "-C",
        FOLDER,
        "PYTHONDONTWRITEBYTECODE=1",
        COMMAND,
        "drill",
        "--settings",
        f"{FOLDER}/site.yaml",
        *words,
    ]
    done = host.run(given, timeout_s=120)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def _log(host: Host) -> list[dict[str, Any]]:
    said = host.run(["cat", f"{FOLDER}/evidence/log.jsonl"])
    return [json.loads(line) for line in said.stdout.splitlines()]


def _plan(host: Host, tmp_path: Path, drill: str, at: dt.datetime) -> str:
    """Write an approved plan that starts once, at a local time."""
    gpu = host.gpus().show()[0]["identity"]["uuid"]
    path, _ = write_plan(tmp_path, drill, capped(gpu), at, {"names": ["localhost"]})
    signature = f"{folder_of(path).name}/bob@lab.sig"
    for name in (path.name, EXPERIMENT, "site.yaml", "allowed_signers", signature):
        _write(host, name, (tmp_path / name).read_text())
    return path.name


def _until(host: Host, done: Any) -> list[dict[str, Any]]:
    end = time.monotonic() + WITHIN_S
    while not done(found := _log(host)):
        assert time.monotonic() < end, host.run(
            ["journalctl", "--no-pager", "-n", "40", "-u", "chaosgpu-drill*"]
        ).stdout
        time.sleep(1)
    return found


def test_the_timer_starts_the_drill_at_its_time_in_its_zone_and_all_of_it_is_on_record(
    controller: Host, tmp_path: Path
) -> None:
    at = (now() + dt.timedelta(seconds=100)).replace(second=0, microsecond=0)
    name = _plan(controller, tmp_path, "capped", at)
    _call(controller, "schedule", name, "--systemd", "/etc/systemd/system")
    controller.run(["systemctl", "daemon-reload"], check=True)
    controller.run(["systemctl", "enable", "--now", "chaosgpu-drill-capped.timer"], check=True)
    log = _until(controller, lambda found: [one["type"] for one in found][-1:] == ["finished"])
    assert [one["type"] for one in log] == ["planned", "approved", "started", "started", "finished", "finished"]
    started, last = log[2], log[-1]
    due = at.astimezone(dt.UTC)
    assert started["occurrence"] == f"{due:%Y-%m-%dT%H:%M:%S}.000Z"
    late_s = (dt.datetime.fromisoformat(started["at"]) - due).total_seconds()
    assert 0 <= late_s < 60
    assert (last["verdict"], last["change_id"]) == ("passed", CHANGE_ID), last
    assert controller.gpus().settings()[0]["power_limit_mw"] == 700_000
    journal = controller.run(["journalctl", "--no-pager", "-t", "chaosgpu-drill"]).stdout
    assert f"change={CHANGE_ID}" in journal


def test_a_drill_that_an_outage_swallowed_is_on_record_minutes_after_the_host_is_back(
    controller: Host, tmp_path: Path
) -> None:
    at = (now() - dt.timedelta(minutes=20)).replace(second=0, microsecond=0)
    name = _plan(controller, tmp_path, "swallowed", at)
    _call(controller, "schedule", name, "--systemd", "/etc/systemd/system")
    # Put on record half an hour ago, as it would have been.
    controller.run(["rm", "-r", f"{FOLDER}/evidence"], check=True)
    script = (
        "import datetime as dt, pathlib, sys; from chaosgpu.drill.planfile import read; "
        "from chaosgpu.drill.record import Record; written = read(pathlib.Path(sys.argv[1])); "
        "Record(pathlib.Path('evidence'), lambda: dt.datetime.now(dt.UTC) - dt.timedelta(minutes=30))"
        ".planned(written, schedule=written.plan.timing.as_json())"
    )
    controller.run(["env", "-C", FOLDER, sys.executable, "-B", "-c", script, name], check=True)
    controller.run(
        ["systemctl", "enable", "chaosgpu-drill-swallowed.timer", "chaosgpu-drills-missed.timer"], check=True
    )
    controller.kill()
    controller.power_on()
    log = _until(controller, lambda found: len(found) > 1)
    assert [one["type"] for one in log] == ["planned", "drill-skipped"]
    assert (log[1]["how"], log[1]["due"]) == ("missed", f"{at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S}.000Z")
    assert log[1]["reason"].startswith("this machine was down when it was due")
    assert "nothing" not in _call(controller, "schedule", "--check")
    assert len(_log(controller)) == 2


def test_a_host_that_demands_an_approval_takes_the_approved_drill_and_nothing_beside_it(
    controller: Host, tmp_path: Path
) -> None:
    name = _plan(controller, tmp_path, "approved", now())
    policy = json.loads(controller.run(["cat", POLICY], check=True).stdout)
    signers = "/etc/chaosgpu/allowed_signers"
    given = {"required": True, "allowed_signers": signers, "names": ["localhost"]}
    controller.run(["cp", POLICY, "/root/policy.json"], check=True)
    controller.run(["cp", f"{FOLDER}/allowed_signers", signers], check=True)
    try:
        controller.run(["sh", "-c", f"cat > {POLICY}"], json.dumps({**policy, "approvals": given}), check=True)
        plain = ["env", "-C", FOLDER, "PYTHONDONTWRITEBYTECODE=1", str(Path(COMMAND).with_name("chaos")), "run"]
        beside = controller.run([*plain, f"{FOLDER}/{EXPERIMENT}"], timeout_s=120)
        assert beside.returncode != 0
        assert "demands an approval, and none came with the fault" in beside.stdout + beside.stderr
        assert controller.gpus().settings()[0]["power_limit_mw"] == 700_000

        assert "DRILL VERDICT passed" in _call(controller, "run", name)
        ledger = controller.run(["sh", "-c", f"cat {FOLDER}/drills/*-approved/runs/2*/ledger.jsonl"], check=True).stdout
        lines = [json.loads(line) for line in ledger.splitlines()]
        active = next(one for one in lines if one["type"] == "lease.active")
        assert [one["by"] for one in active["granted"]["approved_by"]] == ["bob@lab"]
        assert active["granted"]["change_id"] == CHANGE_ID
        journal = controller.run(["journalctl", "--no-pager", "-t", "chaosgpu-agent"]).stdout
        assert "apply done operator=" in journal
        assert f"change_id={CHANGE_ID}" in journal

        # Whoever may write to the controller alone cannot widen it: the host has its own allowed signers.
        (tmp_path / "strangers").mkdir()
        stranger = People(tmp_path / "strangers", ("bob@lab",))
        controller.run(["sh", "-c", f"cat > {signers}"], stranger.allowed_signers.read_text(), check=True)
        assert "has no signature that holds here" in _call(controller, "run", name, status=4)
    finally:
        controller.run(["cp", "/root/policy.json", POLICY], check=True)
    assert controller.gpus().settings()[0]["power_limit_mw"] == 700_000
