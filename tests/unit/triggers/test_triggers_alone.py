# SPDX-License-Identifier: Apache-2.0
"""Each trigger alone on a host without systemd, through the real agent in its one file; and each that is missing."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from support.private_host import Left, on_private_host
from unit.triggers.conftest import AgentWith

DRILL = Path(__file__).parents[2] / "support" / "trigger_drill.py"
POLICY = {"version": 1, "permit": ["selfdrill.*"], "max_duration_s": 60}
KEEPER = {"name": "keeper", "what": "a process", "bound_s": 5.0, "repetitions": 1}
SWEEP = {"name": "sweep", "what": "cron", "bound_s": 25.0, "repetitions": 1}
PYTHON = "/usr/bin/python3"
CONTROLLER = [str(Path(sys.executable).with_name("chaosgpu")), "self-drill", "--triggers"]


def _watch(agent: Path, scratch: Path, trigger: dict[str, Any], tries: int = 6, **options: Any) -> Left:
    words = [PYTHON, "-I", "-S", str(DRILL), str(agent), json.dumps([trigger]), str(tries)]
    scratch.mkdir()
    return on_private_host(words, agent, scratch, **{"policy": POLICY, **options})


def _only(left: Left) -> dict[str, Any]:
    assert left.status == 0, left.err
    [found] = json.loads(left.out)["triggers"]
    assert isinstance(found, dict)
    return found


def _nothing_is_left(left: Left) -> bool:
    return left.files == [] and set(left.leases.values()) <= {"clean", "tombstone"} and left.processes == []


def test_the_keeper_alone_ends_a_lease_in_time_and_nothing_is_left(agent: Path, tmp_path: Path) -> None:
    left = _watch(agent, tmp_path / "host", {**KEEPER, "repetitions": 2})
    found = _only(left)
    assert (found["holds"], found["why_not"], len(found["late_s"])) == (True, [], 2), left.err
    assert 0 <= max(found["late_s"]) <= 5.0
    assert len([state for state in left.leases.values() if state == "clean"]) >= 2
    assert _nothing_is_left(left), left
    assert json.loads(left.out)["holds"] is False  # nothing undoes at boot here
    assert "/etc/cron.d/chaosgpu is not installed" in json.loads(left.out)["boot"]["why_not"]


def test_a_keeper_that_watches_and_does_nothing_is_found_out_and_its_lease_undone(
    agent_with: AgentWith, tmp_path: Path
) -> None:
    agent = agent_with("watchdog/watch.py", "    tries = 0\n", "    tries = 0\n    host.clock.sleep(60)\n")
    left = _watch(agent, tmp_path / "host", {**KEEPER, "bound_s": 1.0, "repetitions": 3})
    found = _only(left)
    assert (found["holds"], found["late_s"]) == (False, [])
    assert found["why_not"] == ["1 s after its deadline the lease was still in force"]
    assert left.files == []
    assert "clean" in left.leases.values()


def test_a_lease_without_a_keeper_is_found_out(agent_with: AgentWith, tmp_path: Path) -> None:
    """It is gone as soon as it was seen to be there."""
    wait = "    watch(host, folder, lambda left_s: min(_LOOK_EVERY_S, left_s))\n"
    agent = agent_with("watchdog/keep.py", wait, "    host.clock.sleep(0.05)\n")
    left = _watch(agent, tmp_path / "host", {**KEEPER, "bound_s": 2.0})
    still = "2 s after its deadline the lease was still in force"
    assert _only(left)["why_not"] in (["the lease has no keeper"], [still])  # gone before it was looked for, or after
    assert _nothing_is_left(left), left


def test_the_sweep_alone_ends_a_lease_whose_keeper_was_killed(agent: Path, tmp_path: Path) -> None:
    left = _watch(agent, tmp_path / "host", SWEEP, cron_every_s=12.0)
    found = _only(left)
    assert (found["holds"], found["why_not"]) == (True, []), left.err
    assert json.loads(left.out)["holds"] is True  # cron's file has a line for the boot, too
    assert _nothing_is_left(left), left


def test_without_a_sweep_the_lease_stays_and_the_drill_does_not_hold(agent: Path, tmp_path: Path) -> None:
    left = _watch(agent, tmp_path / "host", {**SWEEP, "bound_s": 3.0})
    found = _only(left)
    assert (found["holds"], found["why_not"]) == (False, ["3 s after its deadline the lease was still in force"])
    assert _nothing_is_left(left), left


def test_a_keeper_that_somebody_brings_back_shows_nothing_of_the_sweep(agent: Path, tmp_path: Path) -> None:
    left = _watch(agent, tmp_path / "host", SWEEP, tries=1, cron_every_s=0.5)
    assert left.status == 1
    assert "The sweep could not be watched alone, tries: 1" in left.err
    assert "its keeper was brought back" in left.err
    assert left.files == []


@pytest.mark.parametrize(
    ("command", "strike"),
    [(CONTROLLER, signal.SIGINT), (None, signal.SIGTERM)],
    ids=["ctrl-c of chaosgpu", "an impatient Ansible"],
)
def test_whoever_interrupts_it_finds_nothing_left(
    agent: Path, tmp_path: Path, command: list[str] | None, strike: signal.Signals
) -> None:
    (tmp_path / "host").mkdir()
    words = [str(agent), "self-drill"] if command is None else [*command, "--agent", str(agent)]
    left = on_private_host(words, agent, tmp_path / "host", policy=POLICY, strike=strike)
    assert (left.status, left.out) == (130, "")
    assert "interrupted" in left.err
    assert list(left.leases.values()) == ["clean"]
    assert _nothing_is_left(left), left


def test_a_drill_that_was_killed_is_tidied_up_by_the_next(agent: Path, tmp_path: Path) -> None:
    script = tmp_path / "twice.sh"
    again = f"{PYTHON} -I -S {DRILL} {agent} '{json.dumps([KEEPER])}' 6"
    begun = "for _ in $(seq 600); do ls /var/lib/chaosgpu/selfdrill/* >/dev/null 2>&1 && break; sleep 0.05; done"
    script.write_text(f"{agent} self-drill & {begun}; kill -9 $!; ls /var/lib/chaosgpu/selfdrill >&2; {again}\n")
    (tmp_path / "host").mkdir()
    left = on_private_host(["sh", str(script)], agent, tmp_path / "host", policy=POLICY)
    assert left.err.startswith("self-drill-")
    assert _only(left)["holds"] is True, left.err
    assert _nothing_is_left(left), left


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (None, "This host has no policy at /etc/chaosgpu/policy.json"),
        ({**POLICY, "permit": ["gpu.*"]}, "does not permit selfdrill.file; it permits: gpu.*."),
    ],
)
def test_without_a_policy_that_permits_it_one_sentence_says_which_line_to_add(
    agent: Path, tmp_path: Path, policy: object, sentence: str
) -> None:
    (tmp_path / "host").mkdir()
    left = on_private_host([str(agent), "self-drill"], agent, tmp_path / "host", policy=policy)
    assert (left.status, left.out) == (2, "")
    assert sentence in left.err
    assert 'wants "selfdrill.*" under "permit" in /etc/chaosgpu/policy.json' in left.err
    assert left.files == []


def test_a_folder_that_is_a_link_is_refused_and_nothing_behind_it_is_removed(agent: Path, tmp_path: Path) -> None:
    script = tmp_path / "link.sh"
    script.write_text(
        "mkdir -p /var/lib/chaosgpu /var/lib/other; touch /var/lib/other/self-drill-1; "
        f"ln -s /var/lib/other /var/lib/chaosgpu/selfdrill; {agent} self-drill; ls /var/lib/other\n"
    )
    (tmp_path / "host").mkdir()
    left = on_private_host(["sh", str(script)], agent, tmp_path / "host", policy=POLICY)
    assert "/var/lib/chaosgpu/selfdrill is no folder of user 0's own" in left.err
    assert left.out == "self-drill-1\n"


def test_an_agent_without_the_fault_is_told(agent_with: AgentWith, tmp_path: Path) -> None:
    agent = agent_with("faults/registry.py", "    FileText(),\n", "")
    (tmp_path / "host").mkdir()
    left = on_private_host([str(agent), "self-drill"], agent, tmp_path / "host", policy=POLICY)
    assert (left.status, left.out) == (2, "")
    assert "This agent has no fault 'selfdrill.file'" in left.err


def test_a_number_that_makes_no_sense_is_refused(agent: Path, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    words = [*CONTROLLER, "--agent", str(agent), "--repeat", "0"]
    left = on_private_host(words, agent, tmp_path / "host", policy=POLICY)
    assert (left.status, left.out) == (2, "")
    assert "between 1 and 100 times, not 0" in left.err
