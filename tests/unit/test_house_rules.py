# SPDX-License-Identifier: Apache-2.0
"""The house rules hold in every tracked file; and each rule finds a violation that is planted for it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from unit import house_rules, import_rules
from unit.house_rules import Tree

ROOT = Path(__file__).parents[2]
LICENCE = f"# {house_rules.SPDX}\n"

Rule = Callable[[Tree], list[str]]

# Each rule, and a file that breaks it.
RULES: list[tuple[Rule, str, str]] = [
    (house_rules.missing_licence, "chaosgpu/gpu/levels.py", '"""No licence."""\n'),
    (house_rules.missing_licence, "chaosgpu/sim/src/nvml.c", "#include <stdio.h>\n"),
    (house_rules.missing_licence, "scripts/demo.sh", "#!/bin/sh\n# Brings the lab up.\n"),
    (house_rules.missing_licence, f"{house_rules.ANSIBLE_FILES[0]}action_plugins/a.py", LICENCE),
    (house_rules.missing_licence, f"{house_rules.ANSIBLE_FILES[1]}a.py", LICENCE),
    (house_rules.ansible_imports, "chaosgpu/fleet/ask.py", "def f():\n    from ansible.plugins import action\n"),
    (house_rules.ansible_imports, "tests/unit/test_x.py", "import ansible\n"),
    (house_rules.too_long, "chaosgpu/gpu/levels.py", LICENCE + "x = 1\n" * 400),
    (
        house_rules.postponed_annotations,
        "chaosgpu/gpu/actions.py",
        "from __future__ import annotations\n__all__ = []\n",
    ),
    (
        house_rules.helpers_among_activities,
        "chaosgpu/gpu/actions.py",
        "__all__ = ['fill']\ndef fill(): ...\ndef _help(): ...\n",
    ),
    (
        house_rules.helpers_among_activities,
        "chaosgpu/gpu/probes.py",
        "__all__ = ['read']\ndef read(): ...\nLIMIT = 3\n",
    ),
    (house_rules.helpers_among_activities, "chaosgpu/gpu/probes.py", "__all__ = ['A']\nclass A: ...\n"),
    (house_rules.helpers_among_activities, "chaosgpu/gpu/probes.py", "def read(): ...\n"),
    (house_rules.untyped_objects, "chaosgpu/gpu/levels.py", "def f(x: 'int') -> dict[str, Any]: ...\n"),
    (house_rules.untyped_objects, "chaosgpu/agent/store.py", "x: typing.Dict[str, typing.Any] = {}\n"),
    (house_rules.shells, "chaosgpu/lab/up.py", "subprocess.run('ls', shell=True)\n"),
    (house_rules.shells, "tests/unit/test_x.py", "os.system('ls')\n"),
    (house_rules.shells, "chaosgpu/lab/up.py", "subprocess.Popen(x, shell=is_text)\n"),
    (house_rules.asserts, "chaosgpu/gpu/levels.py", "def f(x):\n    assert x\n"),
    (house_rules.machine_paths, "README.md", "Look into /ho" + "me/alice/racks.\n"),
    (house_rules.machine_paths, "docs/a.md", "Look into /wo" + "rk/main.\n"),
    (house_rules.machine_paths, "Makefile", "pip install --index" + "-url http://10.0.0.1/\n"),
    (house_rules.too_new_for_hosts, "chaosgpu/agent/store.py", "match x:\n    case 1: ...\n"),
    (house_rules.too_new_for_hosts, "chaosgpu/agent/store.py", "type X = int\n"),
    (house_rules.broad_excepts, "chaosgpu/lease/run.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (house_rules.broad_excepts, "chaosgpu/lease/run.py", "try:\n    f()\nexcept:\n    pass\n"),
    (house_rules.unexplained_exceptions, "chaosgpu/lease/run.py", "x = 1  # noqa: E501\n"),
    (house_rules.unexplained_exceptions, "tests/unit/test_x.py", "x = 1  # noqa\n"),
    (house_rules.work_to_be_done, "chaosgpu/lease/run.py", "x = 1  # TODO: later\n"),
    (house_rules.skipped_tests, "tests/unit/test_x.py", "@pytest.mark.skipif(x, reason='y')\ndef test_x(): ...\n"),
    (house_rules.skipped_tests, "tests/unit/test_x.py", "pytest.importorskip('numpy')\n"),
    (import_rules.broken_arrows, "chaosgpu/gpu/levels.py", "from chaosgpu.triton import api\n"),
    (import_rules.broken_arrows, "chaosgpu/lease/run.py", "def f():\n    import chaosgpu.gpu.levels\n"),
    (import_rules.broken_arrows, "chaosgpu/fleet/ask.py", "from chaosgpu.lease.run import current_run\n"),
    (import_rules.broken_arrows, "chaosgpu/fleet/ask.py", "from ..lease.run import current_run\n"),
    (import_rules.broken_arrows, "chaosgpu/lease/run.py", "from chaosgpu import sim\n"),
    (import_rules.broken_arrows, "chaosgpu/evidence/log.py", "from chaosgpu.gpu import levels\n"),
    (import_rules.broken_arrows, "chaosgpu/gpu/levels.py", "from chaosgpu.agent.store import read\n"),
    (import_rules.broken_arrows, "chaosgpu/newroom/a.py", "from chaosgpu.errors import Refused\n"),
    (import_rules.foreign_to_the_agent, "chaosgpu/agent/store.py", "import requests\n"),
    (
        import_rules.foreign_to_the_agent,
        "chaosgpu/agent/store.py",
        "def f():\n    from chaosgpu.errors import Refused\n",
    ),
]

# What the same rules let pass: as near to a violation as may be.
FINE: list[tuple[Rule, str, str]] = [
    (house_rules.missing_licence, "scripts/demo.sh", f"#!/bin/sh\n{LICENCE}"),
    (house_rules.missing_licence, "chaosgpu/sim/src/nvml.c", f"/* {house_rules.SPDX} */\n"),
    (house_rules.missing_licence, f"{house_rules.ANSIBLE_FILES[0]}a.py", f"# {house_rules.ANSIBLE_SPDX}\n"),
    (
        house_rules.ansible_imports,
        f"{house_rules.ANSIBLE_FILES[0]}a.py",
        "from ansible.plugins.action import ActionBase\n",
    ),
    (house_rules.ansible_imports, "chaosgpu/fleet/ask.py", "from chaosgpu.fleet.ansible import minder\n"),
    (house_rules.too_long, "chaosgpu/gpu/levels.py", LICENCE + "x = 1\n" * 399),
    (
        house_rules.helpers_among_activities,
        "chaosgpu/gpu/actions.py",
        "import os\n__all__ = ['fill']\ndef fill(): ...\n",
    ),
    (house_rules.untyped_objects, "chaosgpu/gpu/actions.py", "def f() -> dict[str, Any]: ...\n"),
    (house_rules.shells, "chaosgpu/lab/up.py", "subprocess.run(['ls'], shell=False)\n"),
    (house_rules.asserts, "tests/unit/test_x.py", "assert 1\n"),
    (house_rules.machine_paths, "docs/a.md", "A path such as ~/work/racks or $HOME/work/x is nobody's.\n"),
    (house_rules.broad_excepts, "chaosgpu/lease/run.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
    (house_rules.broad_excepts, "chaosgpu/lab/up.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
    (
        house_rules.unexplained_exceptions,
        "chaosgpu/lease/run.py",
        "x = 1  # noqa: E501 (a table)\ny = 2  # noqa: E501\n",
    ),
    (house_rules.work_to_be_done, "chaosgpu/lease/run.py", "x = 'TODO'\n"),
    (import_rules.broken_arrows, "chaosgpu/gpu/levels.py", "from chaosgpu.lease.apply import apply_fault\n"),
    (import_rules.broken_arrows, "chaosgpu/triton/api.py", "from chaosgpu.agent.values import JsonObject\n"),
    (
        import_rules.foreign_to_the_agent,
        "chaosgpu/agent/store.py",
        "import json, pynvml\nfrom chaosgpu.agent import clock\n",
    ),
]


def _planted(folder: Path, name: str, text: str) -> Tree:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Tree(folder, (name,))


@pytest.fixture(scope="module")
def tracked() -> Tree:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    ).stdout.split("\0")
    files = tuple(name for name in listed if name and (ROOT / name).is_file())
    assert "chaosgpu/errors.py" in files
    return Tree(ROOT, files)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _, _ in RULES), ids=lambda rule: rule.__name__)
def test_no_tracked_file_breaks_the_rule(rule: Rule, tracked: Tree) -> None:
    assert rule(tracked) == []


@pytest.mark.parametrize(("rule", "name", "text"), RULES, ids=lambda value: getattr(value, "__name__", None))
def test_a_planted_violation_is_found(rule: Rule, name: str, text: str, tmp_path: Path) -> None:
    found = rule(_planted(tmp_path, name, text))
    assert len(found) == 1
    assert found[0].startswith(name)


@pytest.mark.parametrize(("rule", "name", "text"), FINE, ids=lambda value: getattr(value, "__name__", None))
def test_what_only_looks_like_a_violation_is_left_alone(rule: Rule, name: str, text: str, tmp_path: Path) -> None:
    assert rule(_planted(tmp_path, name, text)) == []


def test_every_rule_of_the_modules_is_applied() -> None:
    written = {
        value
        for module in (house_rules, import_rules)
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }
    assert written - {Tree} == {rule for rule, _, _ in RULES}
