# SPDX-License-Identifier: Apache-2.0
"""Requests carried by a real ansible-playbook: what comes back, what does not and why, and what nobody may see."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.errors import BadArgument, ChaosGpuError, NotReached, Refused, Unreachable
from chaosgpu.fleet.ansible import playbook
from chaosgpu.fleet.ansible.environment import environment
from chaosgpu.fleet.ask import Question, ask, ask_all, ask_everyone, ask_many, ask_together, operator
from chaosgpu.fleet.everywhere import ask_everywhere, how, told
from chaosgpu.fleet.targets import known_hosts
from chaosgpu.fleet.transports import Clock, Clocks
from unit.fleet.conftest import Named

_SECRET = "hunter2hunter2"  # noqa: S105 (what must be seen nowhere)
# A file that only another password opens.
_VAULT = """\
$ANSIBLE_VAULT;1.1;AES256
61306663393737646531633935646164646132666461376563666562616262366666363632393830
3335303133343931323264636164393735336463393732370a383738626336666637303436326562
65346330663236313630633932633563353635636237306130353964326264336236316633633838
6533636263366539370a353836633836366539623330393864343766633863306636326164313737
3734
"""


def test_each_host_gives_its_own_answer_or_its_own_reason_and_nobody_sees_the_request(
    named: Named, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named()
    monkeypatch.setenv("ANSIBLE_LOG_PATH", str(tmp_path / "ansible.log"))
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "5")
    found = ask_many("halt", {host: {"by": host, "reason": _SECRET} for host in ("gpu1", "down", "gone")}, 60)
    answer = found["gpu1"]
    assert isinstance(answer, dict)
    halted = answer["halted"]
    assert isinstance(halted, dict)
    assert (halted["by"], halted["reason"]) == ("gpu1", _SECRET)
    assert type(found["down"]) is type(found["gone"]) is NotReached
    assert re.search(
        r"down cannot be reached for 'halt': .*ssh: connect to host 127\.0\.0\.1 port 1", str(found["down"])
    )
    assert "is gone still in the inventory?" in str(found["gone"])
    assert {host: how(one) for host, one in found.items()} == {
        "gpu1": "ok",
        "down": "unreachable",
        "gone": "unreachable",
    }
    assert told(found).startswith("ok on gpu1; unreachable on down: ")
    log = (tmp_path / "ansible.log").read_text()
    assert "EXEC" in log  # it would have been there
    assert _SECRET not in log
    assert agent.parent == tmp_path


def test_an_agent_of_another_digest_puts_nothing_in_and_still_answers(named: Named, agent: Path) -> None:
    named()
    with agent.open("ab") as file:
        file.write(b"\0")
    found = ask_everywhere(["gpu1", "gpu2"], "apply", {"fault": "gpu.power.cap"}, 60)
    assert {type(one) for one in found.values()} == {Refused}
    assert re.search(r"on gpu2 is not the one of this controller .*nothing was touched", str(found["gpu2"]))
    assert isinstance(ask("gpu1", "list", {}, 60), dict)


@pytest.mark.parametrize(
    ("program", "within_s", "kind", "sentence"),
    [
        (None, 60, Refused, "gpu1 has no agent at .*: install it there"),
        ("#!/nowhere/python3\n", 60, Refused, "could not be started: .*It needs a Python of 3.9 or later"),
        ("#!/bin/sh\necho torn; exit 3\n", 60, Unreachable, "the text 'torn' .exit status 3"),
        ("#!/bin/sh\nkill -9 $$\n", 60, Unreachable, "nothing .exit status"),
        ("#!/bin/sh\nsleep 987.5\n", 4, Unreachable, "gpu1 did not answer 'list' within 4 s, and the call was ended"),
    ],
    ids=["none", "no Python", "torn", "killed", "late"],
)
def test_no_answer_has_a_reason(  # noqa: PLR0917 (one row a case)
    named: Named, tmp_path: Path, program: str | None, within_s: float, kind: type[ChaosGpuError], sentence: str
) -> None:
    named()
    if program is not None:
        (tmp_path / "agent.pyz").write_text(program)
        (tmp_path / "agent.pyz").chmod(0o755)
    with pytest.raises(kind, match=sentence) as raised:
        ask("gpu1", "list", {}, within_s)
    assert type(raised.value) is kind
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"987.5" in _read(path)]


def test_several_questions_to_a_host_are_answered_in_order_and_our_agents_own_ones_apart(
    named: Named, agent: Path
) -> None:
    named()
    with agent.open("ab") as file:
        file.write(b"\0")
    questions = [Question("gpu1", "list", {}, 30), Question("down", "list", {}, 30), Question("gpu1", "facts", {}, 30)]
    listed, down, facts = ask_all([*questions, Question("down", "record", {"lease": "l"}, 30)])[:3]
    assert isinstance(listed, dict)
    assert type(down) is NotReached
    assert isinstance(facts, Refused)
    assert "is not the one of this controller" in str(facts)


def test_everyone_within_the_limit_is_asked_in_one_run_of_ansible_whoever_they_are(
    named: Named, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(chaosgpu_limit="gpu_nodes")
    runs = _count_runs(monkeypatch)
    found = ask_everyone("list", {}, 30)
    assert {host: how(one) for host, one in found.items()} == {"gpu1": "ok", "gpu2": "ok", "down": "unreachable"}
    assert type(found["down"]) is NotReached
    assert known_hosts() == ("down", "gpu1", "gpu2")
    assert len(runs) == 1
    assert agent.exists()


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ("racks", "There is no host or group racks in the inventory"),
        ("nobody", "leaves us with no hosts to target"),
        ("with_localhost", "means the host 'localhost' of the inventory too"),
    ],
)
def test_everyone_who_is_nobody_or_cannot_be_meant_is_told(
    named: Named, agent: Path, limit: str, sentence: str
) -> None:
    named(chaosgpu_limit=limit)
    with pytest.raises(BadArgument, match=sentence):
        ask_everyone("list", {}, 30)
    assert agent.exists()


def test_clocks_are_compared_and_what_is_then_agreed_is_asked_in_one_run_of_ansible(
    named: Named, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named()
    runs = _count_runs(monkeypatch)
    met: list[Clocks] = []

    def agree(found: Clocks) -> list[Question]:
        met.append(found)
        halt = Question("gpu2", "halt", {"by": "gpu2", "reason": "a test"}, 30)
        return [halt, Question("gpu1", "list", {}, 30), Question("gpu2", "list", {}, 30)]

    answers = ask_together(["gpu1", "gpu2"], agree, 30)
    halted, _, listed = [one for one in answers if isinstance(one, dict)]
    assert halted["halted"] == listed["halted"]
    assert listed["leases"] == []
    [found] = met
    clocks = [found[host] for host in ("gpu1", "gpu2")]
    assert all(isinstance(one, Clock) and abs(one.ahead_s) <= one.error_s + 0.001 for one in clocks)
    assert len(runs) == 1
    assert agent.exists()


def test_where_a_clock_is_unknown_whoever_agrees_may_refuse_and_nothing_is_asked(named: Named, agent: Path) -> None:
    named()

    def agree(found: Clocks) -> list[Question]:
        raise Refused(f"the clock of down is unknown: {found['down']}; gpu1 has one: {found['gpu1']}")

    with pytest.raises(Refused, match=r"unknown: down cannot be reached for 'clock'.*gpu1 has one: Clock\("):
        ask_together(["gpu1", "down"], agree, 30)
    assert agent.exists()


def test_a_wrong_vault_password_is_told_and_nothing_is_sent(
    named: Named, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named()
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/gpu_nodes.yml").write_text(_VAULT)
    (tmp_path / "password").write_text("wrong\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(NotReached, match=r"did not get as far as gpu1 .*nothing was sent: .*(?i:vault|decrypt)"):
        ask("gpu1", "list", {}, 60)
    assert agent.exists()


def test_a_verb_that_is_none_is_never_written_into_a_command(named: Named) -> None:
    named()
    begun = time.monotonic()
    with pytest.raises(BadArgument, match="no verb 'list; id'"):
        ask("gpu1", "list; id", {}, 60)
    assert time.monotonic() - begun < 60


def test_the_environment_is_the_users_without_what_belongs_to_an_outer_job() -> None:
    outer = {
        "AWX_ISOLATED_DATA_DIR": "/runner", "RUNNER_OMIT_EVENTS": "1", "TOWER_HOST": "x", "JOB_ID": "7",
        "ANSIBLE_STDOUT_CALLBACK": "awx_display", "ANSIBLE_CALLBACK_PLUGINS": "/runner",
        "ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": "/runner",
        "ANSIBLE_CALLBACKS_ENABLED": "profile_tasks",
    }  # fmt: skip
    theirs = {
        "SSH_AUTH_SOCK": "/s",
        "HOME": "/h",
        "ANSIBLE_CONFIG": "/c",
        "ANSIBLE_FORKS": "25",
        "PATH": os.environ["PATH"],
    }
    found = environment(outer | theirs, Path("/private"))
    assert theirs.items() <= found.items()
    assert {name for name in outer if found.get(name) == outer[name]} == {"JOB_ID"}
    assert found["ANSIBLE_STDOUT_CALLBACK"] == "chaosgpu_events"
    assert found["ANSIBLE_LOCAL_TEMP"] == "/private/tmp"
    assert operator()


def _count_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets one line for each run of Ansible."""
    runs: list[str] = []
    ours = playbook._mind

    def mind(*told: Any) -> int:
        runs.append("one")
        return ours(*told)

    monkeypatch.setattr(playbook, "_mind", mind)
    return runs


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
