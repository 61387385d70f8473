# SPDX-License-Identifier: Apache-2.0
"""A program that is asked one question answers, or is unknown and leaves no process behind."""

import time
from pathlib import Path

import pytest

from chaosgpu.agent.errors import Unanswered
from chaosgpu.agent.facts.asking import OnlyAsked, answer_of


def script(folder: Path, text: str) -> str:
    path = folder / "systemctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_the_answer_is_all_of_the_output_and_the_words_are_its_arguments(tmp_path: Path) -> None:
    asked = OnlyAsked(script(tmp_path, 'echo "$#: $3 $4"; head -c 200000 /dev/zero; echo lost >&2'), "", 0)
    said = asked.ask("show", "a b")
    assert said.startswith("4: show a b\n")
    assert len(said) == len("4: show a b\n") + 200_000


@pytest.mark.parametrize("text", ["sleep 60 & echo $! > {0}; wait", "sleep 60 & echo $! > {0}; exec >&-; wait"])
def test_one_that_keeps_silent_is_ended_with_all_that_it_started(tmp_path: Path, text: str) -> None:
    program, began = script(tmp_path, text.format(tmp_path / "pid")), time.monotonic()
    with pytest.raises(Unanswered, match=r"did not answer within 0\.5 s"):
        answer_of((program,), 0.5)
    assert time.monotonic() - began < 5
    child = int((tmp_path / "pid").read_text())
    until_s = time.monotonic() + 5
    while _lives(child):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("text", "told"), [("echo half; exit 3", "ended with 3"), ("kill -9 $$", "ended with -9")])
def test_one_that_failed_has_not_answered(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Unanswered, match=told):
        answer_of((script(tmp_path, text),), 5)


def test_one_that_cannot_be_started_has_not_answered_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(Unanswered, match="could not be started"):
        answer_of((str(tmp_path / "gone"),), 5)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
