# SPDX-License-Identifier: Apache-2.0
"""A playbook file played by a real ansible-playbook: one word and one sentence for each host."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.ansible.variables import Template, write_variables
from chaosgpu.fleet.play import Outcome, Playbook, check_playbook, play
from unit.fleet.conftest import Named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaosgpu.fleet.values import JsonValue

_SECRET = "hunter2hunter2"  # noqa: S105 (what must be seen nowhere)
_TELLS = """
    - ansible.builtin.set_stats:
        data: {chaosgpu: {playbook: p, ok: true, said: "all is well on {{ inventory_hostname }}"}}
        per_host: true
"""


def _write(folder: Path, tasks: str, play: str = "hosts: all") -> Path:
    path = folder / "p.yml"
    path.write_text(f"- {play}\n  gather_facts: false\n  tasks:\n{tasks}")
    return path


def _play(path: Path, hosts: list[str], within_s: float = 60, must_tell: bool = True) -> dict[str, Outcome]:
    return play(Playbook(path, must_tell=must_tell), hosts, within_s)


def test_each_host_has_its_own_outcome_and_no_other_host_is_touched(named: Named, tmp_path: Path) -> None:
    named()
    tasks = """
    - ansible.builtin.command: touch {{ playbook_dir }}/{{ inventory_hostname }}
    - ansible.builtin.fail: {msg: "the disk of gpu2 is full, password=hunter2hunter2"}
      when: inventory_hostname == 'gpu2'
"""
    found = _play(_write(tmp_path, tasks + _TELLS), ["gpu1", "gpu2", "down", "gone"])

    assert {host: one.how for host, one in found.items()} == {
        "gpu1": "ok",
        "gpu2": "failed",
        "down": "unreachable",
        "gone": "refused",
    }
    assert (found["gpu1"].said, found["gpu1"].changed) == ("all is well on gpu1", 1)
    assert found["gpu1"].told["ok"] is True
    assert "p.yml failed on gpu2: the task 'ansible.builtin.fail': the disk of gpu2 is full" in found["gpu2"].said
    assert _SECRET not in found["gpu2"].said
    assert found["gpu2"].may_have_changed
    assert "down was lost in p.yml" in found["down"].said
    assert "nothing was done there" in found["gone"].said
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("gpu", "localhost"))) == [
        "gpu1",
        "gpu2",
    ]


def test_a_host_is_not_well_because_another_one_failed_or_because_nothing_was_said_of_it(
    named: Named, tmp_path: Path
) -> None:
    named()
    failing = """
    - ansible.builtin.fail: {msg: no}
      when: inventory_hostname == 'gpu2'
"""
    broken_off = _play(_write(tmp_path, failing + _TELLS, "hosts: all\n  any_errors_fatal: true"), ["gpu1", "gpu2"])
    assert {host: one.how for host, one in broken_off.items()} == {"gpu1": "failed", "gpu2": "failed"}
    assert broken_off["gpu1"].said == "p.yml was broken off on gpu1, since it failed on gpu2"

    silent = _write(tmp_path, "    - ansible.builtin.debug: {msg: hello}\n")
    assert _play(silent, ["gpu1"])["gpu1"].said == "p.yml ended on gpu1 without saying what came of it"
    assert _play(silent, ["gpu1"], must_tell=False)["gpu1"].ok  # a playbook of a user's own need not say anything
    denied = "    - ansible.builtin.set_stats: {data: {chaosgpu: {ok: false, said: a job runs}}, per_host: true}\n"
    assert _play(_write(tmp_path, denied), ["gpu1"])["gpu1"].as_json() == {
        "how": "failed",
        "changed": 0,
        "said": "a job runs",
    }
    elsewhere = _play(_write(tmp_path, _TELLS, "hosts: nobody"), ["gpu1"])["gpu1"]
    assert (elsewhere.how, elsewhere.may_have_changed) == ("refused", False)


def test_a_playbook_that_does_not_end_is_ended_and_nobody_says_that_it_did(named: Named, tmp_path: Path) -> None:
    named()
    begun = time.monotonic()
    found = _play(_write(tmp_path, "    - ansible.builtin.command: sleep 943.5\n" + _TELLS), ["gpu1"], 5)
    assert time.monotonic() - begun < 30
    assert found["gpu1"].how == "failed"
    assert "did not end on gpu1 within 5 s and was ended in its first task" in found["gpu1"].said
    assert found["gpu1"].may_have_changed
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"943.5" in _read(path)]


def test_what_a_host_has_said_is_never_filled_in_as_a_template_and_what_a_user_wrote_is(
    named: Named, tmp_path: Path
) -> None:
    named()
    tasks = """
    - ansible.builtin.copy:
        content: "{{ [chaosgpu_reason, mine, chaosgpu_packages, secret] | to_json }}"
        dest: "{{ playbook_dir }}/seen.json"
"""
    trap = "{{ lookup('ansible.builtin.pipe', 'touch trapped') }} é 😀 \"\\ \u2028"
    ours: Mapping[str, JsonValue] = {
        "chaosgpu_reason": trap,
        "chaosgpu_packages": Template("{{ of[inventory_hostname] }}"),
        "of": {"gpu1": {"a": "{{ 1 }}", "b": [None, True, 1.5]}},
    }
    theirs: Mapping[str, JsonValue] = {"mine": "{{ inventory_hostname }}", "secret": _SECRET, "chaosgpu_reason": "x"}
    playbook = Playbook(_write(tmp_path, tasks), ours, theirs)
    assert play(playbook, ["gpu1"], 60)["gpu1"].ok
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen == [trap, "gpu1", {"a": "{{ 1 }}", "b": [None, True, 1.5]}, _SECRET]
    assert not (tmp_path / "trapped").exists()


def test_variables_lie_in_a_file_of_our_own_and_what_is_no_json_is_refused(tmp_path: Path) -> None:
    write_variables(tmp_path / "v.yml", {"a": {"b": [1, "x"]}}, templates=True)
    assert yaml.safe_load((tmp_path / "v.yml").read_text()) == {"a": {"b": [1, "x"]}}
    assert (tmp_path / "v.yml").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadArgument, match="must be JSON, not nan"):
        write_variables(tmp_path / "n.yml", {"a": float("nan")}, templates=True)


def test_this_host_is_played_without_an_inventory_and_only_once_it_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path, _TELLS)
    assert _play(path, ["localhost"])["localhost"].said == "all is well on localhost"
    with pytest.raises(BadArgument, match="gpu1 cannot be reached without an inventory"):
        _play(path, ["gpu1"])


def test_a_playbook_that_cannot_be_played_says_why_and_one_that_is_not_there_is_refused(
    named: Named, tmp_path: Path
) -> None:
    named()
    broken = _write(tmp_path, "    - no.such.module: {}\n")
    found = _play(broken, ["gpu1"])["gpu1"]
    assert (found.how, "no.such.module" in found.said) == ("refused", True)
    with pytest.raises(BadArgument, match=r"The playbook gone.yml is no file here \(.*\); nothing was touched"):
        check_playbook("gone.yml")
    with pytest.raises(BadArgument, match="must name a playbook file, not None"):
        check_playbook(None)


def test_what_lies_beside_a_playbook_is_used_with_the_callbacks_that_its_ansible_cfg_enables(
    named: Named, tmp_path: Path
) -> None:
    named()
    (tmp_path / "callback_plugins").mkdir()
    (tmp_path / "callback_plugins/notes.py").write_text(
        "from ansible.plugins.callback import CallbackBase\n"
        "class CallbackModule(CallbackBase):\n"
        "    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, 'notification', 'notes'\n"
        "    CALLBACK_NEEDS_ENABLED = True\n"
        "    def v2_playbook_on_start(self, playbook):\n"
        f"        open({str(tmp_path / 'called')!r}, 'w').close()\n"
    )
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("beside: the playbook\n")
    path = _write(tmp_path, "    - ansible.builtin.assert: {that: beside == 'the playbook'}\n" + _TELLS)
    assert _play(path, ["gpu1"])["gpu1"].ok
    assert not (tmp_path / "called").exists()  # it would be called only where it is enabled
    (tmp_path / "ansible.cfg").write_text("[defaults]\ncallbacks_enabled = notes\n")
    assert _play(path, ["gpu1"])["gpu1"].ok
    assert (tmp_path / "called").exists()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
