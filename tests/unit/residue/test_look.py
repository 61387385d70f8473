# SPDX-License-Identifier: Apache-2.0
"""What could not be looked at is unknown with the reason and never clean; nothing hangs; what passes is no residue."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaosgpu.agent.residue.finding import OURS, Family, Found, Unlooked, families
from chaosgpu.agent.residue.look import look
from chaosgpu.agent.residue.scene import Scene
from unit.residue.conftest import MakeScene


def _finds(_: Scene, found: Found) -> None:
    found.add("a.kind", "what", "here", "put it right")


def _hangs(_: Scene, found: Found) -> None:
    time.sleep(60)
    found.add("a.kind", "what", "there", "put it right")


def _breaks(_: Scene, found: Found) -> None:  # noqa: ARG001 (the form of a family)
    raise KeyError("mistake")


def _cannot(_: Scene, found: Found) -> None:  # noqa: ARG001 (the form of a family)
    raise Unlooked("there is no program tc on this host")


def _dies(_: Scene, found: Found) -> None:  # noqa: ARG001 (the form of a family)
    os._exit(3)


def _family(name: str, look_at: object) -> Family:
    return Family(name, OURS, {"a.kind": "a kind"}, look_at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("look_at", "why"),
    [
        (_hangs, "not looked at to the end within 0.3 s"),
        (_breaks, "looking broke: KeyError: 'mistake'"),
        (_cannot, "there is no program tc"),
        (_dies, "ended before it had an answer"),
    ],
)
def test_a_family_that_cannot_look_is_unknown_and_the_next_ones_are_looked_at(
    look_at: object, why: str, make_scene: MakeScene
) -> None:
    known = [_family("first", look_at), _family("second", _finds)]
    start_s = time.monotonic()
    found = look(make_scene(), known=known, family_within_s=0.3)
    assert [finding.where for finding in found.findings] == ["here"]
    assert why in found.unknown["first"][0]
    assert "second" not in found.unknown
    assert time.monotonic() - start_s < 5.0


def test_all_families_together_end_in_time_however_many_hang(make_scene: MakeScene) -> None:
    known = [_family(str(number), _hangs) for number in range(20)]
    start_s = time.monotonic()
    found = look(make_scene(), known=known, family_within_s=0.2, all_within_s=0.5)
    assert len(found.unknown) == 20
    assert time.monotonic() - start_s < 5.0


def test_what_is_gone_a_moment_later_was_just_being_done(make_scene: MakeScene, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def once(_: Scene, found: Found) -> None:
        if not mark.exists():
            found.add("a.kind", "what", "here", "put it right")
        mark.touch()

    found = look(make_scene(), known=[_family("one", once)])
    assert mark.exists()
    assert found.findings == ()


def test_where_the_second_look_fails_what_the_first_one_saw_stands(make_scene: MakeScene, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def once(_: Scene, found: Found) -> None:
        if mark.exists():
            raise Unlooked("it went away")
        mark.touch()
        found.add("a.kind", "what", "here", "put it right")

    assert [finding.where for finding in look(make_scene(), known=[_family("one", once)]).findings] == ["here"]


def test_a_program_that_is_missing_makes_its_family_unknown(make_scene: MakeScene) -> None:
    def nothing(words: object) -> str:
        raise Unlooked(f"there is no program {words}")

    known = [one for one in families() if one.name in ("network", "firewall")]
    found = look(make_scene(run=nothing), known=known)
    assert set(found.unknown) == {"network", "firewall"}
    assert len(found.unknown["network"]) == 3


def test_a_file_that_cannot_be_read_makes_its_family_unknown(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene()
    loop = tmp_path / "root/etc/ld.so.preload"
    loop.parent.mkdir(parents=True, exist_ok=True)
    loop.symlink_to(loop)  # root may read all but this
    found = look(scene, known=[one for one in families() if one.name == "preloads"])
    assert "/etc/ld.so.preload cannot be read" in found.unknown["preloads"][0]


def test_every_kind_has_one_family_and_a_few_words() -> None:
    kinds = [kind for one in families() for kind in one.kinds]
    assert len(kinds) == len(set(kinds)) >= 60
    assert all(words for one in families() for words in one.kinds.values())


def test_looking_changes_nothing(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene({"/claims/chaosgpu-claim-1.json": "{}"}, claims_directory="/claims")
    (tmp_path / "home" / "leases" / "l1").mkdir(parents=True)
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in tmp_path.rglob("*"))
    look(scene)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_reason_that_hides_several_parts_is_said_once(make_scene: MakeScene) -> None:
    [network] = [one for one in families() if one.name == "network"]

    def run(words: Sequence[str]) -> str:
        raise Unlooked(f"there is no program {words[0]} on this host")

    found = look(make_scene(run=run), known=[network])
    assert found.unknown["network"] == ("there is no program tc on this host", "there is no program ip on this host")


@pytest.mark.parametrize(
    ("pids", "said"),
    [
        ([1], "the variables of process 1 (init) cannot be read"),
        ([1, 7], "the variables of 2 processes, 1 (init), 7 (init), cannot be read"),
        (
            [*range(1, 9)],
            "the variables of 8 processes, 1 (init), 2 (init), 3 (init), 4 (init), 5 (init) and 3 more, c",
        ),
    ],
)
def test_processes_whose_variables_cannot_be_read_are_named(pids: list[int], said: str, make_scene: MakeScene) -> None:
    [preloads] = [one for one in families() if one.name == "preloads"]
    stat = "(init) S 0 1 1 0 -1 4194560 " + "0 " * 30
    files = {f"/proc/{pid}/{name}": text for pid in pids for name, text in (("stat", f"{pid} {stat}"), ("cmdline", ""))}
    scene = make_scene(files)
    for pid in pids:
        (Path(scene.root) / f"proc/{pid}/environ").symlink_to("environ")  # not even root can read it
    found = look(scene, known=[preloads])
    assert found.unknown["preloads"][0].startswith(said)
