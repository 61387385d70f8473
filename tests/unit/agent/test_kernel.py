# SPDX-License-Identifier: Apache-2.0
"""What lets a person read and trust the kernel whole: it is small, stands alone, and no wall clock decides."""

import ast
import sys

import pytest

from kernel import KERNEL, MOST_LINES, ROOT, code_lines

# Names that would let a decision hang on the time of day, on chance, or on a process that nobody passed in.
FORBIDDEN = {
    "time",
    "datetime",
    "random",
    "secrets",
    "subprocess",
    "wall_s",
    "spawn_detached",
    "fork",
    "execve",
    "system",
}


def imports(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def strangers(tree: ast.Module) -> set[str]:
    return {
        name
        for name in imports(tree)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("chaosgpu.agent")
    }


def forbidden(tree: ast.Module) -> set[str]:
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    return FORBIDDEN & (used | imports(tree))


def test_the_kernel_has_at_most_500_lines() -> None:
    assert sum(code_lines((ROOT / name).read_text()) for name in KERNEL) <= MOST_LINES


def test_lines_are_counted_as_told() -> None:
    source = '"""Two\nlines."""\n\nimport os  # one\n\n\ndef f():\n    """Text."""\n    # why\n    return """a\nb"""\n'
    assert code_lines(source) == 4


@pytest.mark.parametrize("name", KERNEL)
def test_it_needs_the_standard_library_and_the_agent_alone(name: str) -> None:
    assert not strangers(ast.parse((ROOT / name).read_text()))


@pytest.mark.parametrize("name", KERNEL)
def test_no_time_of_day_no_chance_and_no_process_that_was_not_passed_in(name: str) -> None:
    assert not forbidden(ast.parse((ROOT / name).read_text()))


@pytest.mark.parametrize(
    "planted", ["import time\n", "from datetime import datetime\n", "x = clock.wall_s()\n", "import os\nos.fork()\n"]
)
def test_what_must_not_be_there_would_be_found(planted: str) -> None:
    assert forbidden(ast.parse(planted))


@pytest.mark.parametrize("planted", ["import requests\n", "from chaosgpu.lease import ledger\n"])
def test_a_stranger_would_be_found(planted: str) -> None:
    assert strangers(ast.parse(planted))
