# SPDX-License-Identifier: Apache-2.0
"""What was struck counts as long as the files that the run loads say the same: compared with what real runs open."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.faults.selfdrill import FAULTS as HARMLESS
from chaosgpu.selfdrill.host import World
from crash import depends, opened, world

FAULTS = {"gpu.power.cap": False, "gpu.memory.fill": True}  # the packages' run is traced on a test host
VERBS = ("renew", "list", "sweep", "undo", "halt")


@pytest.fixture(params=FAULTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = world.build(tmp_path, request.param)
    yield made
    made.end()


def test_a_run_loads_what_its_digest_is_of_and_never_a_reading(host: World, tmp_path: Path) -> None:
    loaded = opened.of_run(host, tmp_path)
    module, holds = world.module_of(host.fault), FAULTS[host.fault]
    own = {f"faults/{module.rpartition('.')[2]}.py", "watchdog/keep.py", "driver_child.py", "nvml_calls.py"}
    assert own <= loaded["apply"]
    for verb in VERBS:
        assert {"verbs.py", "mend.py"} <= loaded[verb], verb
        assert not any(name.startswith("readings/") for name in loaded[verb]), verb
    others = _others()
    for verb, files in loaded.items():
        assert files <= depends.names(module, holds=holds) | others, verb
    if holds:
        assert {"hold.py", "holders.py", "cuda/memory.py"} <= loaded["apply"]


def _others() -> set[str]:
    """Return the registry and what the other faults need, which it loads too."""
    folder = depends.ROOT / "chaosgpu" / "agent"
    modules = {type(fault).__module__ for fault in REGISTRY.values()}
    found = [name for module in modules for name in depends.names(module, holds=False)]
    paths = [folder / "faults" / "registry.py", *folder.rglob("__init__.py")]
    return {*found, *(str(path.relative_to(folder)) for path in paths)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    shutil.copytree(depends.ROOT / "chaosgpu" / "agent", root / "chaosgpu" / "agent")
    return root


@pytest.mark.parametrize("name", ["store.py", "watchdog/keep.py", "nvml_calls.py", "faults/power_cap.py", "process.py"])
def test_the_digest_changes_with_each_file_that_is_loaded(name: str, tree: Path) -> None:
    assert _changes(tree, name, "\nADDED = 1\n")


@pytest.mark.parametrize(
    "name", ["readings/xid.py", "faults/burn.py", "faults/registry.py", "holders.py", "install.py"]
)
def test_the_digest_stays_where_the_run_has_no_use_for_a_file(name: str, tree: Path) -> None:
    assert not _changes(tree, name, "\nADDED = 1\n")


def test_a_comment_and_a_docstring_change_no_digest(tree: Path) -> None:
    assert not _changes(tree, "store.py", "\n# A comment.\n")
    assert depends.said('"""One."""\nA = "x"\n') == depends.said('"""Two."""\n# more\n\nA = "x"  # no\n')
    assert depends.said('A = "x"\n') != depends.said('A = "y"\n')
    assert depends.said("def f():\n    '''D.'''\n    return 1\n") != depends.said("def f():\n    '''D.'''\nreturn_1\n")


def _changes(tree: Path, name: str, added: str) -> bool:
    path = tree / "chaosgpu" / "agent" / name
    before, text = depends.digest("chaosgpu.agent.faults.power_cap", holds=False, root=tree), path.read_text()
    path.write_text(text + added)
    after = depends.digest("chaosgpu.agent.faults.power_cap", holds=False, root=tree)
    path.write_text(text)
    return before != after


def test_every_fault_that_is_struck_has_a_digest_of_its_own() -> None:
    digests = {fault: world.digest_of(fault) for fault in world.FAULTS if fault.startswith("gpu.")}
    assert len(set(digests.values())) == len(digests)


def test_every_fault_that_there_is_is_struck() -> None:
    assert {*world.FAULTS} == {*REGISTRY, *HARMLESS}
