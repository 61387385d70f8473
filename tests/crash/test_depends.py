# SPDX-License-Identifier: Apache-2.0
"""What was struck counts as long as the files that the run loads say the same: compared with what real runs open."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.selfdrill import entry, oracle, strace
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import wait_until
from crash import depends, world

_OPENED = re.compile(r'"[^"]*/chaosgpu/agent/([^"]+\.pyc?)", O_RDONLY[^=]*= \d')
FAULTS = {"gpu.power.cap": False, "gpu.memory.fill": True}


def _opened(text: str) -> set[str]:
    """Return the files of the agent that were opened, compiled ones under the name of their source."""
    found = set()
    for name in _OPENED.findall(text):
        path = Path(name)
        found.add(str(path.parent.parent / f"{path.name.split('.')[0]}.py" if path.suffix == ".pyc" else path))
    return found


@pytest.fixture(params=FAULTS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = world.build(tmp_path, request.param)
    yield made
    made.end()


def _traced(host: World, verb: str, request: dict[str, object], out: Path) -> "subprocess.Popen[bytes]":
    watch = [strace.find_strace(), "-f", "-q", "-s", "300", "-o", str(out), "-e", "trace=openat", "--"]
    child = subprocess.Popen(
        [*watch, *entry.START, verb], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=host.environment
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps({"protocol": 1, **request}).encode())
    child.stdin.close()
    return child


def test_a_run_loads_what_its_digest_is_of_and_never_a_reading(host: World, tmp_path: Path) -> None:
    host.renew()
    applied = _traced(host, "apply", {**host.order(), "ttl_s": 30}, tmp_path / "apply")
    assert wait_until(lambda: (oracle.record(host.lease_folder) or {}).get("state") == "active", 30)
    asked: list[tuple[str, dict[str, object]]] = [
        ("renew", {"leases": [host.lease], "ttl_s": 30}), ("list", {"verify": True}), ("sweep", {}),
        ("undo", {"lease": host.lease}), ("halt", {"by": "ann", "reason": "pager"}),
    ]  # fmt: skip
    for verb, request in asked:
        assert _traced(host, verb, request, tmp_path / verb).wait(30) == 0, verb
    assert applied.wait(30) == 0  # the keeper has gone
    loaded = {name: _opened((tmp_path / name).read_text()) for name in ("apply", *(verb for verb, _ in asked))}
    module, holds = world.module_of(host.fault), FAULTS[host.fault]
    known = {str(path.relative_to(depends.ROOT / "chaosgpu/agent")) for path in depends.files(module, holds=holds)}
    others = _others()
    own = {f"faults/{module.rpartition('.')[2]}.py", "watchdog/keep.py", "driver_child.py", "nvml_calls.py"}
    assert own <= loaded["apply"] <= known | others
    for verb, _ in asked:
        assert {"verbs.py", "mend.py"} <= loaded[verb] <= known | others, verb
        assert not any(name.startswith("readings/") for name in loaded[verb]), verb
    if holds:
        assert {"hold.py", "holders.py", "cuda/memory.py"} <= loaded["apply"]


def _others() -> set[str]:
    """Return the registry and what the other faults need, which it loads too."""
    folder = depends.ROOT / "chaosgpu" / "agent"
    modules = {type(fault).__module__ for fault in REGISTRY.values()}
    found = [path for module in modules for path in depends.files(module, holds=False)]
    paths = [folder / "faults" / "registry.py", *found, *folder.rglob("__init__.py")]
    return {str(path.relative_to(folder)) for path in paths}


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
