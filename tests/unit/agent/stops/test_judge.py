# SPDX-License-Identifier: Apache-2.0
"""How conditions are joined, with one that nobody can read among them."""

from itertools import product

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import AgentError, BadRequest, Refused
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look, Parameter
from chaosgpu.agent.stops.judge import judge
from chaosgpu.agent.stops.tree import checked
from chaosgpu.agent.values import JsonMapping, JsonObject

TOOLS = Tools(ForkedDriver(), SystemClock())
WORDS: dict[str, bool | None] = {"yes": True, "no": False, "unread": None}


def _look(params: JsonMapping, _: JsonMapping, __: Tools) -> Look:
    word = str(params["word"])
    if word == "unread":
        raise Refused("nobody can say.")
    return Look(WORDS[word], word)


SAYS = {"says": Condition("says", "says", (Parameter("word", "text", "yes, no or unread"),), _look)}


def joined(how: str, *words: str) -> Look:
    parts: list[object] = [{"says": {"word": word}} for word in words]
    tree = checked({how: parts}, SAYS)  # type: ignore[dict-item]
    return judge(tree, iter([{}] * len(words)), TOOLS, SAYS)


@pytest.mark.parametrize(("one", "other"), list(product(WORDS, WORDS)))
def test_unknown_is_never_taken_for_harmless(one: str, other: str) -> None:
    sides = (WORDS[one], WORDS[other])
    of_any = True if True in sides else None if None in sides else False
    of_all = False if False in sides else None if None in sides else True
    assert joined("any", one, other).met is of_any
    assert joined("all", one, other).met is of_all


def test_what_decided_is_told() -> None:
    assert joined("all", "yes", "yes").reading == "yes and yes"
    assert joined("any", "no", "unread").reading == "says cannot be read: nobody can say"


@pytest.mark.parametrize("error", [Refused("busy"), OSError("broken"), ValueError("a mistake")])
def test_one_failed_look_is_followed_by_one_more_at_once(error: AgentError | OSError | ValueError) -> None:
    looks = [error]

    def look(_: JsonMapping, __: JsonMapping, ___: Tools) -> Look:
        if looks:
            raise looks.pop()
        return Look(met=False, reading="well")

    known = {"flaky": Condition("flaky", "flaky", (), look)}
    tree: JsonObject = {"flaky": {}}
    assert judge(tree, iter([{}]), TOOLS, known).met is False
    looks += [error, error]
    assert judge(tree, iter([{}]), TOOLS, known).met is None


def test_a_tree_that_is_too_large_or_too_deep_is_refused() -> None:
    with pytest.raises(BadRequest, match="33 conditions"):
        joined("any", *["no"] * 33)
    deep: JsonObject = {"says": {"word": "no"}}
    for _ in range(8):
        deep = {"any": [deep]}
    with pytest.raises(BadRequest, match="deeper than 8"):
        checked(deep, SAYS)
