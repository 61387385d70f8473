# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu recover`, and the ways in which a run is lost, with the real agent."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.lease.chain import verify_chain
from chaosgpu.lease.ledger import read_lines
from support.agent_host import wait_until
from support.chaos import Played, python
from support.drill import Drill


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    found = Drill(tmp_path, ttl_s=30)
    yield found
    found.host.close()


def _killed(drill: Drill) -> Played:
    chaos = drill.breaking(60)
    chaos.send(signal.SIGKILL)
    chaos.finish(5)
    assert drill.host.broken()
    return Played(-9, "", drill.folder)


def test_a_dead_run_is_brought_back_at_once_and_its_ledger_gets_its_end(drill: Drill) -> None:
    played = _killed(drill)
    held = drill.command("leases")
    assert held.returncode == 3
    recovered = drill.command("recover")

    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert not drill.host.broken()
    assert "UNDONE test.file.set" in recovered.stdout
    assert played.types[-3:] == ["lease.reverting", "lease.clean", "run.finished"]
    assert played.verdict[0] == "inconclusive"
    assert "the run was lost" in played.verdict[1]
    assert verify_chain(read_lines(played.run / "ledger.jsonl")[0]) == []
    shown = drill.command("runs", "show")
    assert (shown.returncode, "the chain holds" in shown.stdout) == (4, True)
    again = drill.command("recover")
    assert (again.returncode, again.stdout) == (0, "no dead run has left anything\n")
    assert played.types.count("run.finished") == 1


def test_a_dead_run_is_brought_back_without_its_ledger_by_its_name_alone(drill: Drill, tmp_path: Path) -> None:
    played = _killed(drill)
    name = played.run.name
    shutil.rmtree(tmp_path / ".chaosgpu")
    unnamed = drill.command("recover")
    assert unnamed.returncode == 0
    assert f"{name}  holds something and is no dead run of this folder" in unnamed.stdout
    assert drill.host.broken()

    recovered = drill.command("recover", name)
    assert recovered.returncode == 0
    assert not drill.host.broken()
    assert "there is no record of it here" in recovered.stdout
    assert drill.command("recover", "20200101T000000Z-aaaaaa").returncode == 2


def test_a_run_that_is_alive_is_left_alone_also_from_another_folder_unless_forced(drill: Drill, tmp_path: Path) -> None:
    chaos = drill.breaking(60)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    name = (tmp_path / ".chaosgpu/runs/latest").resolve().name
    for folder in (tmp_path, elsewhere):
        refused = drill.command("recover", name, folder=folder)
        assert (refused.returncode, "is alive, so it was left alone" in refused.stderr) == (2, True)
    assert drill.command("recover").stdout.startswith(f"{name}  holds something")
    assert drill.host.broken()

    forced = drill.command("recover", name, "--force")
    assert forced.returncode == 0
    assert not drill.host.broken()
    played = chaos.finish(20)
    assert played.verdict[0] == "inconclusive"
    assert "was not in force to the end: somebody undid it" in played.verdict[1]
    assert played.types.count("run.finished") == 1
    assert verify_chain(read_lines(played.run / "ledger.jsonl")[0]) == []


def test_a_host_that_cannot_be_asked_is_cut_off_and_the_run_stays_open(drill: Drill) -> None:
    played = _killed(drill)
    home = drill.host.home
    away = home.with_name("away")
    home.rename(away)
    home.write_text("no folder")  # an agent that cannot read its own state
    recovered = drill.command("recover", played.run.name)
    assert recovered.returncode == 5
    assert "CUT OFF, nobody knows what is in force there" in recovered.stdout
    assert "run.finished" not in played.types

    home.unlink()
    away.rename(home)
    assert drill.command("recover", "--json").returncode == 0
    assert played.types[-1] == "run.finished"


def test_halt_undoes_everything_stops_the_run_and_latches_until_resume(drill: Drill) -> None:
    chaos = drill.breaking(60)
    halted = drill.command("halt", "--reason", "pager", "--by", "ann")

    assert halted.returncode == 0
    assert not drill.host.broken()
    assert "localhost  halted by ann" in halted.stdout
    assert "undone test.file.set of run " in halted.stdout
    played = chaos.finish(20)
    assert played.verdict == ("inconclusive", "localhost was halted by ann: pager")
    assert played.journal["status"] == "interrupted"
    assert [run["status"] for run in played.journal["rollbacks"]] == ["succeeded"]
    refused = drill.chaos([python("break", "break_file", module="support.drill")], drill.folder).finish(20)
    assert "pager" in refused.verdict[1]
    assert drill.command("leases").stdout.splitlines()[1].startswith("localhost  is halted by ann")

    assert drill.command("resume", "--reason", "settled").returncode == 0
    assert json.loads(drill.command("leases", "--json").stdout) == {
        "leases": [],
        "halted": {},
        "cut_off": {},
        "exit_code": 0,
    }


def test_a_file_on_the_host_halts_it_without_a_command_and_the_run_stops(drill: Drill) -> None:
    chaos = drill.breaking(60)
    (drill.host.home / "HALT").touch()
    wait_until(lambda: not drill.host.broken())
    played = chaos.finish(20)
    assert played.verdict[0] == "inconclusive"
    assert "was halted by" in played.verdict[1]


def test_two_controllers_at_once_on_one_claim_one_has_it_and_is_not_disturbed(drill: Drill, tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        method = [python("break", "break_file", module="support.drill"), python("wait", "wait", seconds=2)]
        runs.append(drill.chaos(method, tmp_path / name))
    played = sorted((run.finish(30) for run in runs), key=lambda one: one.verdict[0])

    assert [one.verdict[0] for one in played] == ["inconclusive", "passed"], played[0].said
    assert "lease.refused" in played[0].types
    assert {lease["state"] for lease in drill.leases()} == {"clean"}
    assert not drill.host.broken()


def test_the_reply_of_an_apply_that_is_lost_loses_no_lease_and_nothing_renews_it(drill: Drill) -> None:
    method = [python("break", "break_file", module="support.drill"), drill.wait(0.5)]
    played = drill.chaos(method, drill.folder, environment={"TEST_LOSES": "apply"}).finish(20)

    assert played.verdict[0] == "inconclusive"
    assert not drill.host.broken()
    assert [lease["state"] for lease in drill.leases()] == ["clean"]
    assert "lease.renewed" not in played.types
