# SPDX-License-Identifier: Apache-2.0
"""What an unattended upgrade would do, asked of a real apt in a folder: what moves, what stays and what keeps it."""

import subprocess

import pytest

from chaosgpu.agent.errors import NoEffect, Refused, Unverified
from chaosgpu.agent.faults import package_unattended
from chaosgpu.agent.faults.package_unattended import PackageUnattended
from chaosgpu.agent.faults.package_upgrade import Kept, upgrade
from chaosgpu.agent.packages.facts import look
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping
from support.debs import LATER, NAMES, OLD
from unit.faults.rig import refusal
from unit.packages.conftest import HOLDS, Root
from unit.packages.test_action import CONTEXT

NAMED = tuple(name for name in NAMES if name != "libnvidia-gpucomp")
BAD: list[tuple[JsonMapping, str]] = [
    ({}, "packages must be a list of names"),
    ({"packages": []}, "packages must be a list of names"),
    ({"packages": ["nvidia-*"]}, "must be a list of names"),
    ({"packages": {"nvidia-open": "1"}}, "must be a list of names"),
    ({"packages": ["nvidia-open"], "must_change": "no"}, "must_change must be true or false"),
    ({"packages": ["nvidia-open"], "back_within_s": 1}, "back_within_s must be between 10"),
    ({"packages": ["nvidia-open"], "may_remove": []}, "has no parameter may_remove"),
]


def _hold(root: Root, want: str, *names: str) -> None:
    lines = "".join(f"{name} {want}\n" for name in names)
    subprocess.run(root.tools.dpkg("--set-selections"), input=lines, text=True, check=True, timeout=20)


def _pin(root: Root, *names: str) -> None:
    text = f"Package: {' '.join(names)}\nPin: version {OLD}\nPin-Priority: 1001\n"
    root.tools.path("/etc/apt/preferences.d/site").write_text(text)


def test_without_guards_all_moves_to_what_apt_would_take_and_what_it_needs_comes_along(root: Root) -> None:
    _hold(root, "install", *HOLDS)
    found = upgrade(root.tools, root.facts, NAMED)
    assert found.moves == dict.fromkeys(NAMED, LATER)
    assert found.every == {**found.moves, "libnvidia-gpucomp": LATER}
    assert found.kept == ()


def test_a_hold_keeps_a_package_and_what_cannot_move_without_it(root: Root) -> None:
    found = upgrade(root.tools, root.facts, ("nvidia-open", "nvidia-utils", "nvidia-persistenced"))
    assert found.moves == {"nvidia-persistenced": LATER}
    assert found.kept == (
        Kept("nvidia-open", OLD, LATER, ("it is on hold",)),
        Kept("nvidia-utils", OLD, LATER, ("what it needs is on hold",)),
    )


def test_a_pin_keeps_a_package_and_both_guards_are_named_where_there_are_both(root: Root) -> None:
    _pin(root, "nvidia-fabricmanager", "nvidia-persistenced")
    found = upgrade(root.tools, root.facts, ("nvidia-fabricmanager", "nvidia-persistenced"))
    assert found.moves == {}
    assert found.kept == (
        Kept("nvidia-fabricmanager", OLD, LATER, ("it is on hold", "a pin chooses another version")),
        Kept("nvidia-persistenced", OLD, LATER, ("a pin chooses another version",)),
    )


def test_the_newest_is_neither_moved_nor_kept_and_one_that_is_absent_is_refused(root: Root) -> None:
    _hold(root, "install", *HOLDS)
    assert root.apt("upgrade", "--with-new-pkgs").returncode == 0
    found = upgrade(root.tools, root.facts, ("nvidia-open",))
    assert (found.moves, found.every, found.kept) == ({}, {}, ())
    with pytest.raises(Refused, match="cuda-drivers is not installed on this host"):
        upgrade(root.tools, root.facts, ("nvidia-open", "cuda-drivers"))


@pytest.mark.parametrize(("raw", "sentence"), BAD)
def test_a_bad_value_is_refused_with_a_sentence(raw: JsonMapping, sentence: str) -> None:
    assert sentence in refusal("package.unattended", raw)


@pytest.fixture
def on(root: Root, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Have the fault work in the folder."""

    def tools(_: object) -> Tools:
        return root.tools

    monkeypatch.setattr(package_unattended, "_tools", tools)
    return root


def test_guards_that_stop_all_of_it_are_refused_unless_they_are_what_is_tried(on: Root) -> None:
    fault = PackageUnattended()
    with pytest.raises(NoEffect, match=rf"stop an upgrade of nvidia-open {OLD} to {LATER} \(it is on hold\)"):
        fault.check(fault.parse({"packages": ["nvidia-open"]}), CONTEXT)
    params = fault.parse({"packages": ["nvidia-open"], "must_change": False})
    fault.check(params, CONTEXT)
    prior, before = fault.capture(params, CONTEXT), on.versions()
    fault.inject(params, prior, CONTEXT)
    observed = fault.verify(params, prior, None, CONTEXT)
    kept = {"package": "nvidia-open", "installed": OLD, "newest": LATER, "why": ["it is on hold"]}
    assert observed == {"new": [], "upgrade": [], "downgrade": [], "remove": [], "kept_back": [kept]}
    fault.undo(params, prior, CONTEXT)
    restored = fault.restored(params, prior, None, CONTEXT)
    assert (restored.clean, restored.left_alone) == (True, ())
    assert on.versions() == before


def test_a_guard_that_somebody_takes_away_meanwhile_is_seen_and_what_he_upgrades_is_left_alone(on: Root) -> None:
    fault = PackageUnattended()
    params = fault.parse({"packages": ["nvidia-fabricmanager"], "must_change": False})
    prior = fault.capture(params, CONTEXT)
    _hold(on, "install", "nvidia-fabricmanager")
    with pytest.raises(Unverified, match="no longer stop the upgrade as they did: it would move nvidia-fabricmanager"):
        fault.verify(params, prior, None, CONTEXT)
    assert on.apt("upgrade").returncode == 0
    fault.undo(params, prior, CONTEXT)
    restored = fault.restored(params, prior, None, CONTEXT)
    assert restored.clean
    assert restored.left_alone[0].startswith(f"nvidia-fabricmanager is {LATER}, and was {OLD}: somebody changed it")
    assert look(on.tools).held() == {"nvidia-open"}


def test_nothing_newer_is_no_upgrade_whatever_must_change_says(on: Root) -> None:
    _hold(on, "install", *HOLDS)
    assert on.apt("upgrade", "--with-new-pkgs").returncode == 0
    fault = PackageUnattended()
    with pytest.raises(NoEffect, match="apt knows nothing newer of nvidia-open"):
        fault.check(fault.parse({"packages": ["nvidia-open"], "must_change": False}), CONTEXT)
