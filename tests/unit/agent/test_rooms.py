# SPDX-License-Identifier: Apache-2.0
"""`agent ROOM VERB`: each room's word leads to it, with a request that was read once and a deadline that is kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent import rooms
from chaosgpu.agent.zipapp import build


def _ask(words: list[str], request: str, *program: str) -> dict[str, Any]:
    command = [*(program or (sys.executable, "-m", "chaosgpu.agent")), *words]
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if "error" in answer else 0), done.stderr
    return answer


@pytest.mark.parametrize("room", sorted(rooms.ROOMS))
def test_each_room_is_found_by_its_word_in_the_agents_file_too(room: str, tmp_path: Path) -> None:
    path = build(tmp_path / "agent.pyz")
    for program in ((), (sys.executable, "-I", "-S", str(path))):
        said = _ask([room, "nonsense"], "{}", *program)["error"]["message"]
        assert "no verb" not in said, said  # that is what the agent's own words would say


@pytest.mark.parametrize(
    ("request_text", "sentence"),
    [
        ("torn", "The request is no JSON"),
        ("[]", "The request must be one JSON object"),
        ('{"protocol": 2}', "This agent speaks protocol 1, not 2"),
        ('{"deadline_s": -1}', "deadline_s must be a number of seconds"),
        ('{"deadline_s": true}', "deadline_s must be a number of seconds"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_a_sentence(request_text: str, sentence: str) -> None:
    assert sentence in _ask(["packages", "gaps"], request_text)["error"]["message"]


def test_a_verb_is_broken_off_at_its_deadline() -> None:
    request = {"protocol": 1, "deadline_s": 0.02, "packages": {"bash": "1"}}
    said = _ask(["packages", "gaps"], json.dumps(request))["error"]["message"]
    assert said == "`packages gaps` was not done within 0.02 s and was broken off; ask again with more time."
