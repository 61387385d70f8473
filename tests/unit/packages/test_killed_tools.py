# SPDX-License-Identifier: Apache-2.0
"""A program that was killed has said nothing: what is kept of packages is whole or not there, and no mark is lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.errors import Refused, Unanswered
from chaosgpu.agent.packages.brought import brought
from chaosgpu.agent.packages.change import put_in
from chaosgpu.agent.packages.files import changed_by_somebody
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.marks import read_auto
from chaosgpu.agent.packages.module import loaded
from chaosgpu.agent.packages.plan import plan
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.snapshot import take
from chaosgpu.agent.packages.tools import Done, Tools
from support.debs import LATER, OLD
from unit.packages.conftest import Root

WANTED = {"nvidia-open": LATER}
_DIES = ("sh", "-c", "echo half; kill -KILL $$")


@dataclass(frozen=True)
class Killing(Tools):
    """Tools of which one program, the so-manieth that is started, is killed before it has said all."""

    at: int = 0
    started: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str], within_s: float, **options: Any) -> Done:
        self.started.append(words[0])
        return super().run(_DIES if len(self.started) == self.at else words, within_s, **options)


def test_a_program_that_was_killed_has_not_answered_unless_the_host_is_read_afterwards() -> None:
    with pytest.raises(Unanswered, match="was killed by signal 9"):
        Tools().run(_DIES, 10)
    assert Tools().run(_DIES, 10, read_back=True).status == -9


def test_whichever_program_is_killed_what_is_kept_before_a_change_is_whole_or_not_there(
    root: Root, tmp_path: Path
) -> None:
    found, facts = plan(root.tools, root.facts, WANTED), root.facts
    counting = Killing(root.tools.root)
    whole = take(counting, tmp_path / "whole", found, facts)
    last = {name: number for number, name in enumerate(counting.started, start=1)}  # the last of each program
    for at in sorted({*last.values(), *range(1, len(counting.started), 6)}):
        folder = tmp_path / f"kept-{at}"
        with pytest.raises(Unanswered, match="was killed"):
            take(Killing(root.tools.root, at=at), folder, found, facts)
        assert not folder.exists(), counting.started[at - 1]
    assert set(whole.after) == {change.name for change in found.changes}


def test_a_change_never_removes_what_its_plan_does_not(root: Root, tmp_path: Path) -> None:
    taken = take(root.tools, tmp_path / "kept", plan(root.tools, root.facts, WANTED), root.facts)
    lacking = {name: one for name, one in taken.after.items() if name != "nvidia-open"}
    with pytest.raises(Refused, match="apt did not get through"):
        put_in(root.tools, replace(taken, after=lacking), 60)
    assert root.versions()["nvidia-open"] == OLD
    assert judge(root.tools, taken).as_before


def test_an_automatic_mark_that_could_not_be_set_is_no_end_and_is_set_at_the_next_try(
    root: Root, tmp_path: Path
) -> None:
    taken = take(root.tools, tmp_path / "kept", plan(root.tools, root.facts, WANTED), root.facts)
    put_in(root.tools, taken, 60)
    counting = Killing(root.tools.root)
    restore(counting, taken, 60)
    put_in(root.tools, taken, 60)
    with pytest.raises(Unanswered):
        restore(Killing(root.tools.root, at=counting.started.index("apt-mark") + 1), taken, 60)
    assert "nvidia-utils" not in read_auto(root.tools)
    restore(root.tools, taken, 60)
    assert judge(root.tools, taken).as_before
    assert "nvidia-utils" in read_auto(root.tools)


@dataclass(frozen=True)
class Failing(Tools):
    """Tools of which each program ends with a status that is no answer."""

    status: int = 2

    def run(self, words: Sequence[str], within_s: float, **options: Any) -> Done:  # noqa: ARG002 (as the real one)
        return Done(tuple(words), self.status, "", "no memory")


def test_a_look_at_files_that_failed_does_not_say_that_nobody_changed_them() -> None:
    with pytest.raises(Unanswered, match="Nobody knows whether the files are as their packages have them"):
        changed_by_somebody(Failing(), ["nvidia-open"])
    assert changed_by_somebody(Failing(status=0), ["nvidia-open"]) == []


def test_a_package_file_that_cannot_be_listed_does_not_count_as_empty(root: Root, tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match=r"What nvidia-open\.deb holds cannot be read"):
        brought(Failing(root.tools.root), [tmp_path / "nvidia-open.deb"])


def test_a_module_version_that_cannot_be_read_is_not_that_no_module_runs(tmp_path: Path) -> None:
    tools = Tools(str(tmp_path))
    assert loaded(tools) is None
    tools.path("/proc/driver/nvidia/version").mkdir(parents=True)  # a read of it fails, and it is there
    with pytest.raises(Unanswered, match="nobody knows which module runs"):
        loaded(tools)
