# SPDX-License-Identifier: Apache-2.0
"""The agent's code compiled beside its file: only readings use it, and only where nobody else can have written it."""

import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent import compiled, zipapp


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    (tmp_path / "libexec").mkdir(mode=0o755)
    return zipapp.build(tmp_path / "libexec" / "agent.pyz")


def ask(agent: Path, *words: str) -> dict[str, Any]:
    """Ask with a module of the compiled kind that tells that it was the one to be loaded."""
    child = subprocess.run(
        [sys.executable, "-I", "-S", str(agent), *words], input=b'{"protocol": 1}', capture_output=True, check=False,
        env={"CHAOSGPU_AGENT_HOME": str(agent.parent.parent / "home")}, timeout=60,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(child.stdout)
    return {**answer, "marked": b"compiled was used" in child.stderr}


def folder(agent: Path) -> Path:
    [found] = (agent.parent / "compiled").iterdir()
    return found


def mark(agent: Path) -> None:
    """Put a module in the place of one that every verb loads: only who uses the folder runs it."""
    module = folder(agent) / "chaosgpu" / "agent" / "protocol.pyc"
    source = agent.parent / "protocol.py"
    text = (Path(zipapp.__file__).parent / "protocol.py").read_text()
    source.write_text(text + "\nimport sys\nsys.stderr.write('compiled was used')\n")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source), cfile=str(module), doraise=True, invalidation_mode=unchecked)


def test_a_check_tells_what_would_be_written_and_touches_nothing(agent: Path) -> None:
    told = ask(agent, "compile", "--check")
    assert len(told["written"]) == 1
    assert not (agent.parent / "compiled").exists()
    assert ask(agent, "compile")["written"] == told["written"]


def test_a_second_time_writes_nothing_and_a_damaged_file_is_written_anew(agent: Path) -> None:
    ask(agent, "compile")
    assert ask(agent, "compile")["written"] == []
    module = folder(agent) / "chaosgpu" / "agent" / "main.pyc"
    right = module.read_bytes()
    module.write_bytes(right[:-1])
    assert ask(agent, "compile")["written"] == [str(folder(agent))]
    assert module.read_bytes() == right


def test_the_folder_of_another_agent_is_removed_and_never_used(agent: Path) -> None:
    ask(agent, "compile")
    mark(agent)
    with agent.open("ab") as file:
        file.write(b"\n")  # another digest
    assert not ask(agent, "list")["marked"]
    old = folder(agent)
    assert ask(agent, "compile")["removed"] == [str(old)]
    assert not ask(agent, "list")["marked"]


@pytest.mark.parametrize(("verb", "used"), [("list", True), ("doctor", True), ("undo", False), ("sweep", False)])
def test_readings_use_it_and_what_changes_a_host_does_not(agent: Path, verb: str, *, used: bool) -> None:
    ask(agent, "compile")
    assert not ask(agent, verb)["marked"]
    mark(agent)
    assert ask(agent, verb)["marked"] is used


@pytest.mark.parametrize("place", ["compiled", "folder"])
def test_a_folder_that_others_may_write_to_is_not_used(agent: Path, place: str) -> None:
    ask(agent, "compile")
    mark(agent)
    assert ask(agent, "list")["marked"]
    (folder(agent) if place == "folder" else agent.parent / "compiled").chmod(0o777)
    assert not ask(agent, "list")["marked"]


def test_a_folder_of_somebody_else_is_not_used(agent: Path) -> None:
    ask(agent, "compile")
    assert compiled.only_of(os.getuid(), str(folder(agent)))
    assert not compiled.only_of(os.getuid() + 1, str(folder(agent)))


def test_other_words_are_not_understood(agent: Path) -> None:
    assert "compile [--check]" in ask(agent, "compile", "--all")["error"]["message"]
