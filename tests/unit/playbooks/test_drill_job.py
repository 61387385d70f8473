# SPDX-License-Identifier: Apache-2.0
"""drill.yml and janitor.yml, played by ansible-runner as AWX does, and the command `chaosgpu job` beneath them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_runner.interface import run as run_as_awx

from chaosgpu.cli.play_job import job_environment
from support.around import LONGEST_S
from support.chaos import GUARD, TESTS, TINY, experiment, python

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(autouse=True)
def _ansible_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ansible-runner find the Ansible that is beside this Python."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


PLAYBOOKS = TESTS.parent / "playbooks"
COMMAND = str(Path(sys.executable).with_name("chaosgpu"))


def _environment(folder: Path) -> dict[str, str]:
    (folder / "agent").mkdir(exist_ok=True)
    runs = {"CHAOSGPU_RUNS": str(folder / "runs"), "TINY_AGENT": str(folder / "agent"), "PYTHONPATH": str(TESTS)}
    return {key: os.environ[key] for key in list(os.environ) if key != "PYTEST_CURRENT_TEST"} | runs


def _write(folder: Path, method: list[dict[str, Any]], **changes: Any) -> str:
    path = folder / "experiment.json"
    path.write_text(json.dumps(experiment(method, **{"controls": [TINY, GUARD], **changes})))
    return str(path)


def _job(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [COMMAND, "job", *words], cwd=folder, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


class Played:
    """What ansible-runner kept of a playbook."""

    def __init__(self, folder: Path, name: str, **variables: Any) -> None:
        private = folder / f"private-{len(list(folder.glob('private-*')))}"  # it keeps the variables of a run before
        private.mkdir()
        given = {"chaosgpu_command": [COMMAND], "chaosgpu_inventory_from_job": "no", **variables}
        self.ran = run_as_awx(  # type: ignore[no-untyped-call]  # ansible-runner has no types
            private_data_dir=str(private),
            playbook=str(PLAYBOOKS / f"{name}.yml"),
            inventory="localhost ansible_connection=local",
            extravars=given,
            envvars=_environment(folder),
            quiet=True,
        )
        self.events = [*self.ran.events]

    @property
    def artifacts(self) -> Any:
        [last] = [event for event in self.events if event["event"] == "playbook_on_stats"]
        return last["event_data"]["artifact_data"]

    @property
    def said(self) -> str:
        return "".join(str(event.get("stdout", "")) for event in self.events)


def test_a_run_that_passes_exports_its_verdict_its_hosts_and_its_digests_and_no_event_of_its_own(
    tmp_path: Path,
) -> None:
    looks = tmp_path / "looks.yml"
    looks.write_text("- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: inner}}]\n")
    inner = python("look", "run_playbook", module="chaosgpu.fleet.actions", playbook=str(looks), check=True)
    played = Played(tmp_path, "drill", chaosgpu_experiment=_write(tmp_path, [python("break it", "break_it"), inner]))

    assert (played.ran.status, played.ran.rc) == ("successful", 0), played.said
    found = played.artifacts["chaosgpu"]
    assert (found["verdict"], found["exit_code"], found["hosts"]) == ("passed", 0, {"localhost": "restored"})
    run = tmp_path / "runs" / found["run"]
    digest = subprocess.run(
        ["sha256sum", str(run / "journal.json")], capture_output=True, text=True, check=True, timeout=30
    )
    assert found["journal_sha256"] == digest.stdout.split()[0]
    assert len(json.dumps(found)) < 2000
    assert {event["event_data"].get("playbook") for event in played.events if event["event_data"].get("playbook")} == {
        str(PLAYBOOKS / "drill.yml")
    }


def test_a_run_that_does_not_pass_fails_the_job_and_exports_why(tmp_path: Path) -> None:
    method = [python("break it", "break_it", mode="stuck")]
    played = Played(tmp_path, "drill", chaosgpu_experiment=_write(tmp_path, method))
    assert (played.ran.status, played.ran.rc) == ("failed", 2)
    found = played.artifacts["chaosgpu"]
    assert (found["verdict"], found["exit_code"]) == ("unsafe", 5)
    assert found["hosts"]["localhost"].startswith("not restored: tiny.flag is ")
    assert "is unsafe: tiny.flag on localhost was not restored" in played.said


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"chaosgpu_blast_radius": "many"}, "say how many hosts may be touched at most"),
        ({"chaosgpu_dry_run": "maybe"}, "chaosgpu_dry_run"),
        ({"chaosgpu_experiment": "gone.json"}, "gone.json could not be read"),
        ({"chaosgpu_target_limit": "rack1"}, "'chaosgpu_limit' is no key of the experiment's configuration"),
    ],
)
def test_a_wrong_answer_of_a_survey_is_told_and_nothing_is_played(
    tmp_path: Path, answers: dict[str, str], sentence: str
) -> None:
    given = {"chaosgpu_experiment": _write(tmp_path, []), **answers}
    played = Played(tmp_path, "drill", **given)
    assert played.ran.rc == 2
    assert sentence in played.said
    assert not (tmp_path / "runs").exists()


def test_answers_go_to_the_keys_that_the_experiment_declares(tmp_path: Path) -> None:
    configuration = {"word": "none", "many": []}
    says = [python("say", "says", value=["${word}", "${many}"])]
    path = _write(tmp_path, says, configuration=configuration)
    job = _job(tmp_path, path, "--set", "word=well", "--set=many=[1, 2]")
    stdout, stderr = job.communicate(timeout=LONGEST_S)
    assert job.returncode == 0, stderr
    journal = json.loads((tmp_path / "runs" / json.loads(stdout)["run"] / "journal.json").read_text())
    assert journal["run"][0]["output"] == ["well", [1, 2]]


def test_a_stop_of_the_job_stops_the_run_in_order(tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    method = [python("break it", "break_it"), python("wait", "wait", seconds=900, mark=str(waiting))]
    job = _job(tmp_path, _write(tmp_path, method))
    end = time.monotonic() + LONGEST_S
    while not waiting.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    stdout, _ = job.communicate(timeout=LONGEST_S)
    found = json.loads(stdout)
    assert (job.returncode, found["verdict"], found["reason"]) == (4, "inconclusive", "stopped by SIGTERM")
    assert not (tmp_path / "agent/broken").exists()


def test_the_outer_jobs_environment_does_not_reach_the_run() -> None:
    outer = {"ANSIBLE_STDOUT_CALLBACK": "awx_display", "RUNNER_OMIT_EVENTS": "1", "AWX_ISOLATED_DATA_DIR": "/runner"}
    theirs = {"AWX_USER_NAME": "ann", "HOME": "/h", "SSH_AUTH_SOCK": "/s", "ANSIBLE_CONFIG": "/c"}
    assert job_environment(outer | theirs) == theirs


def test_the_janitor_finishes_a_killed_run_by_its_age_and_leaves_a_young_one_alone(tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    method = [python("break it", "break_it", duration_s=3000), python("wait", "wait", seconds=900, mark=str(waiting))]
    job = _job(tmp_path, _write(tmp_path, method))
    end = time.monotonic() + LONGEST_S
    while not waiting.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    [child] = [
        int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == job.pid and path.name.isdecimal()
    ]
    os.kill(child, signal.SIGKILL)
    job.communicate(timeout=LONGEST_S)
    command = [sys.executable, str(TESTS / "support/tiny_chaosgpu.py")]
    young = Played(tmp_path, "janitor", chaosgpu_command=command, chaosgpu_longest_drill_minutes="130")
    assert young.artifacts["chaosgpu_janitor"]["recovered"] == []
    [run] = [path for path in (tmp_path / "runs").iterdir() if not path.is_symlink()]
    old = run.with_name("20200101T000000Z-aaaaaa")
    run.rename(old)

    done = Played(tmp_path, "janitor", chaosgpu_command=command, chaosgpu_longest_drill_minutes="130")
    assert done.artifacts["chaosgpu_janitor"]["recovered"] == [old.name]
    nothing = Played(tmp_path, "janitor", chaosgpu_command=command)
    assert nothing.ran.rc == 2
    assert "say how many minutes a drill lasts at most" in nothing.said


def _parent(path: Path) -> int | None:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return None
