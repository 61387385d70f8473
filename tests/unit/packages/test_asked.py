# SPDX-License-Identifier: Apache-2.0
"""apt is asked what it would do under preferences of ours without a file for it: who is killed leaves none."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.faults import package_install
from chaosgpu.agent.faults.package_install import PackageInstall
from chaosgpu.agent.faults.package_upgrade import upgrade
from chaosgpu.agent.fetched import FOLDER, fetching
from chaosgpu.agent.packages.plan import plan
from chaosgpu.agent.packages.policy import with_host
from chaosgpu.agent.packages.snapshot import take
from chaosgpu.agent.packages.tools import Done, Tools
from support.debs import FIRST, LATER
from unit.packages.conftest import Root
from unit.packages.test_action import CONTEXT

WANTED = {"nvidia-open": LATER}
PLACE = "/etc/apt/preferences.d"
FORBIDS = "Package: libnvidia-gpucomp\nPin: version *\nPin-Priority: -1"
NEVER_READ = (".hidden", "site.bak", "site.dpkg-old", "site~", "site.pref.save")


@dataclass(frozen=True)
class Noting(Tools):
    """Tools that note which program has which place for what it needs for a moment."""

    places: dict[str, set[str]] = field(default_factory=dict)

    def run(self, words: Sequence[str], within_s: float, **options: Any) -> Done:
        script = 'printf %s "$TMPDIR"'
        self.places.setdefault(words[0], set()).add(super().run(("sh", "-c", script), 10).out)
        return super().run(words, within_s, **options)


@dataclass(frozen=True)
class Asking(Tools):
    """Tools that note whether a sweep could remove what is fetched, whenever a program runs."""

    home: str = ""
    could: list[bool] = field(default_factory=list)

    def run(self, words: Sequence[str], within_s: float, **options: Any) -> Done:
        if words[0] == "dpkg-deb":
            self.could.append(free(self.home))
        return super().run(words, within_s, **options)


def free(home: str) -> bool:
    """Tell whether the lock can be had, and give it back."""
    lock = fetching(home, 0.0)
    taken = lock.take()
    lock.release()
    return taken


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give a list of every folder that is made for a moment."""
    made: list[str] = []
    make = tempfile.mkdtemp

    def noting(*words: Any, **options: Any) -> Any:
        made.append(make(*words, **options))
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", noting)
    return made


def test_neither_a_plan_nor_an_upgrade_makes_a_folder_for_its_question(root: Root, folders: list[str]) -> None:
    assert plan(root.tools, root.facts, WANTED).changes
    assert upgrade(root.tools, root.facts, ("nvidia-persistenced",)).moves
    assert folders == []


def test_a_folder_that_is_made_for_a_question_would_be_seen(folders: list[str]) -> None:
    """The control."""
    with tempfile.TemporaryDirectory() as folder:
        assert folders == [folder]


def test_the_hosts_own_preferences_are_heeded_and_ours_stand_above_them(root: Root) -> None:
    pins = [f"Package: nvidia-open nvidia-utils\nPin: version {FIRST}\nPin-Priority: 999", FORBIDS]  # no end of line
    before = plan(root.tools, root.facts, WANTED)
    root.tools.path("/etc/apt/preferences").write_text(pins[0])
    assert plan(root.tools, root.facts, WANTED) == before
    root.tools.path(f"{PLACE}/site.pref").write_text(pins[1])
    with pytest.raises(Refused, match="apt finds no way to nvidia-open"):
        plan(root.tools, root.facts, WANTED)
    assert with_host(root.tools, "ours")[1] == "\n\n".join([*pins, "ours"])


def test_a_file_of_the_host_that_apt_would_not_read_is_not_read(root: Root) -> None:
    for name in (*NEVER_READ, "00-site", "site.pref"):
        root.tools.path(f"{PLACE}/{name}").write_text(f"# {name}\n")
    _, text = with_host(root.tools, "")
    assert [line[2:] for line in text.splitlines() if line] == ["00-site", "site.pref"]


def test_what_programs_put_down_while_all_is_kept_lies_with_it_and_goes(root: Root, tmp_path: Path) -> None:
    """dpkg-deb unpacks a package's own files for a question, and one that is killed leaves them."""
    found, kept = plan(root.tools, root.facts, WANTED), tmp_path / "kept"
    tools = Noting(root.tools.root)
    assert take(tools, kept, found, root.facts).after
    assert tools.places["dpkg-deb"] == {str(kept / "tmp")}
    assert not (kept / "tmp").exists()


def test_no_sweep_can_come_between_while_package_files_are_fetched(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, tools, fault = tmp_path / "leases" / "l1", Asking(root.tools.root, home=str(tmp_path)), PackageInstall()
    lease.mkdir(parents=True)
    monkeypatch.setattr(package_install, "_tools", lambda _: tools)
    prior = fault.capture(fault.parse({"packages": {**WANTED}}), replace(CONTEXT, lease_dir=str(lease)))
    assert prior["folder"] == str(tmp_path / FOLDER / "l1")
    assert len(tools.could) > 1
    assert not any(tools.could)
    assert free(str(tmp_path))
