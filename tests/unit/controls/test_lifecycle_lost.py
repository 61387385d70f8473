# SPDX-License-Identifier: Apache-2.0
"""A run with a lifecycle that is stopped or killed: its hosts come back, by the run itself or by `chaosgpu recover`."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from chaosgpu.lease.chain import verify_chain
from chaosgpu.lease.ledger import read_lines
from support.around import BACK, BEFORE, LIFECYCLE, LONGEST_S, PLAYBOOKS, Host, around, plan_with, recover
from support.chaos import GUARD, TINY, Chaos, Played, python

pytestmark = pytest.mark.timeout(1800)
DRAIN = plan_with(packages=None)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def _in_the_method(folder: Path, plan: dict[str, object]) -> Chaos:
    method = [python("break it", "break_it"), python("wait", "wait", seconds=120, mark=str(folder / "waiting"))]
    chaos = Chaos(folder, around(method, plan))
    chaos.wait_for(folder / "waiting", LONGEST_S)
    return chaos


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_method_brings_the_hosts_back_before_the_run_ends(
    host: Host, tmp_path: Path, sign: signal.Signals
) -> None:
    chaos = _in_the_method(tmp_path, DRAIN)
    assert host.drained
    chaos.send(sign)
    played = chaos.finish(LONGEST_S)
    assert played.verdict == ("inconclusive", f"stopped by {sign.name}")
    assert (played.broken, host.drained, host.steps) == (False, False, ["drain", "return"])


def test_a_stop_condition_and_a_steady_state_that_does_not_hold_bring_the_hosts_back(
    host: Host, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    arguments = {"arguments": {"stop_when": f"controller_file_exists('{stop}')"}}
    guard = {**GUARD, "provider": GUARD["provider"] | arguments}  # type: ignore[operator]  # a mapping there
    method = [python("wait", "wait", seconds=600, mark=str(tmp_path / "waiting"))]
    chaos = Chaos(tmp_path, around(method, DRAIN, controls=[TINY, LIFECYCLE, guard]))
    chaos.wait_for(tmp_path / "waiting", LONGEST_S)
    stop.touch()
    stopped = chaos.finish(LONGEST_S)
    assert "a stop condition was met" in stopped.verdict[1]
    assert (host.drained, host.steps) == (False, ["drain", "return"])

    probe = {**python("no", "says", kind="probe", value=False), "tolerance": True}
    broken = {"steady-state-hypothesis": {"title": "it holds", "probes": [probe]}}
    played = Chaos(tmp_path, around([], DRAIN, **broken)).finish(LONGEST_S)
    assert played.verdict[0] == "inconclusive"
    assert "did not hold before the method" in played.verdict[1]
    assert (host.drained, host.steps[2:]) == (False, ["drain", "return"])


def test_a_signal_on_the_way_there_ends_the_playbook_and_the_method_is_not_played(host: Host, tmp_path: Path) -> None:
    host.lets("hang-pin", "971.5")
    chaos = Chaos(tmp_path, around([python("break it", "break_it")]))
    chaos.wait_for(host.folder / "hanging", LONGEST_S)
    chaos.send(signal.SIGTERM)
    chaos.send(signal.SIGTERM)  # an impatient second one
    played = chaos.finish(LONGEST_S)

    assert played.verdict == ("inconclusive", "stopped by SIGTERM")
    assert (played.journal["run"], host.steps) == ([], ["drain", "snapshot", "pin", *BACK])
    assert (host.facts, host.drained, host.quarantined) == (BEFORE, False, None)
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"stand_in.py\0pin" in _read(path)]
    assert left == []


def test_a_killed_controller_leaves_the_host_out_of_service_and_recover_brings_it_back_once(
    host: Host, tmp_path: Path
) -> None:
    chaos = _in_the_method(tmp_path, plan_with(steps=["drain", "snapshot", "pin"]))
    chaos.send(signal.SIGKILL)
    chaos.finish(20)
    assert (host.drained, host.facts == BEFORE) == (True, False)

    recovered = recover(tmp_path)
    played = Played(-9, "", tmp_path)
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert (host.facts, host.drained, host.quarantined, played.broken) == (BEFORE, False, None, False)
    assert host.steps == ["drain", "snapshot", "pin", *BACK]
    assert played.types[-2:] == ["host.returned", "run.finished"]
    assert played.ledger[-1]["verdict"] == "inconclusive"
    assert [line["differences"] for line in played.ledger if line["type"] == "host.restored"] == [[]]
    assert verify_chain(read_lines(played.run / "ledger.jsonl")[0]) == []
    again = recover(tmp_path, played.run.name)
    assert (again.returncode, len(host.steps)) == (0, 6)


def test_without_the_record_the_hosts_own_tell_what_is_left_and_recover_finishes_it_by_the_runs_name(
    host: Host, tmp_path: Path
) -> None:
    chaos = _in_the_method(tmp_path, plan_with(steps=["drain", "snapshot", "pin"]))
    chaos.send(signal.SIGKILL)
    chaos.finish(20)
    name = Played(-9, "", tmp_path).run.name
    shutil.rmtree(tmp_path / ".chaosgpu")
    unnamed = recover(tmp_path)
    assert f"{name}  holds something and is no dead run of this folder" in unnamed.stdout
    assert host.drained
    young = recover(tmp_path, "--older-than-minutes", "60")
    assert (young.returncode, host.drained) == (0, True)

    recovered = recover(tmp_path, name, "--playbooks", str(PLAYBOOKS))
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert (host.facts, host.drained) == (BEFORE, False)
    assert host.steps[3:] == BACK
    assert "there is no record of it here" in recovered.stdout


def test_a_host_that_recover_cannot_bring_back_goes_into_quarantine_and_the_exit_code_says_so(
    host: Host, tmp_path: Path
) -> None:
    chaos = _in_the_method(tmp_path, DRAIN)
    chaos.send(signal.SIGKILL)
    chaos.finish(20)
    host.lets("fail-return", "no such unit")
    recovered = recover(tmp_path)
    played = Played(-9, "", tmp_path)
    assert recovered.returncode == 5
    assert "localhost was not restored (return.yml failed on localhost" in recovered.stdout
    assert (played.ledger[-1]["verdict"], host.drained) == ("unsafe", True)
    assert "no such unit" in str(host.quarantined)


def test_a_host_that_was_left_in_the_middle_is_finished_later_though_the_ledger_is_closed(
    host: Host, tmp_path: Path
) -> None:
    chaos = _in_the_method(tmp_path, DRAIN)
    for step in ("return", "quarantine"):
        host.lets(f"fail-{step}", "the network is down")
    chaos.send(signal.SIGTERM)
    played = chaos.finish(LONGEST_S)
    assert played.verdict[0] == "unsafe"
    closed = (played.run / "ledger.jsonl").read_bytes()
    for step in ("return", "quarantine"):
        (host.folder / f"fail-{step}").unlink()

    recovered = recover(tmp_path)  # it finds by itself what is left to do
    assert recovered.returncode == 0, recovered.stdout + recovered.stderr
    assert not host.drained
    assert (played.run / "ledger.jsonl").read_bytes() == closed
    kept = json.loads((played.run / "hosts/localhost/recovered.json").read_text())
    assert kept["said"] == "localhost is restored and in service"
    played_so_far = len(host.steps)
    assert recover(tmp_path).returncode == 0
    assert len(host.steps) == played_so_far


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
