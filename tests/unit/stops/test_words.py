# SPDX-License-Identifier: Apache-2.0
"""Stop conditions as text and as a tree: what is read, and the sentence for each mistake."""

import pytest

from chaosgpu.agent.stops.registry import CONDITIONS
from chaosgpu.errors import BadArgument
from chaosgpu.stops.contract import AllOf, AnyOf, Stop
from chaosgpu.stops.plan import plan_of
from chaosgpu.stops.registry import HERE
from chaosgpu.stops.scene import Scene

CANARY = {
    "name": "canary",
    "type": "probe",
    "tolerance": True,
    "provider": {"type": "python", "module": "chaosgpu.triton.probes", "func": "canary_is_right", "arguments": {}},
}
SCENE = Scene({"steady-state-hypothesis": {"probes": [CANARY]}, "method": []})


def shape(stop: Stop | None) -> object:
    """Write a joined condition as nested tuples of names."""
    if isinstance(stop, (AnyOf, AllOf)):
        return ("any" if isinstance(stop, AnyOf) else "all", *(shape(part) for part in stop.parts))
    return None if stop is None else next(stop.leaves()).name


def test_conditions_of_host_and_controller_are_parted() -> None:
    plan = plan_of(
        "gpu_temperature_above(90) | host_memory_below(mib=512) | (canary_wrong_for(5) & elapsed(10))", SCENE
    )
    assert plan.host == {
        "any": [{"gpu_temperature_above": {"celsius": 90.0, "gpu": None}}, {"host_memory_below": {"mib": 512.0}}]
    }
    assert shape(plan.here) == ("all", "canary_wrong_for", "elapsed")


def test_text_and_tree_say_the_same() -> None:
    text = plan_of("elapsed(1) | elapsed(2) & (elapsed(3) | lease_gone()) | gpu_xid([13, 31])", SCENE)
    tree = plan_of(
        {
            "any": [
                {"elapsed": {"seconds": 1}},
                {"all": [{"elapsed": {"seconds": 2}}, {"any": [{"elapsed": {"seconds": 3}}, {"lease_gone": {}}]}]},
                {"gpu_xid": {"expected": [13, 31]}},
            ]
        },
        SCENE,
    )
    expected = ("any", "elapsed", ("all", "elapsed", ("any", "elapsed", "lease_gone")))
    assert shape(text.here) == shape(tree.here) == expected
    assert text.host == tree.host == {"gpu_xid": {"expected": [13, 31], "gpu": None}}


def test_nothing_asked_is_nothing_watched() -> None:
    plan = plan_of(None, SCENE)
    assert (plan.here, plan.host) == (None, None)


def test_no_condition_here_has_the_name_of_one_of_a_host() -> None:
    assert not set(HERE) & set(CONDITIONS)


MISTAKES: list[tuple[object, str]] = [
    ("elapsed(", "cannot be read"),
    ("", "cannot be read"),
    ("elapsed(1) elapsed(2)", "cannot be read"),
    ("(" * 300 + "elapsed(1)" + ")" * 300, "cannot be read"),
    ("elapsed(1)\0", "cannot be read"),
    ("elapsed(1) or elapsed(2)", "write & or |"),
    ("elapsed", "without parentheses"),
    ("elapsed(1) + elapsed(2)", "which is no condition"),
    ("~elapsed(1)", "which is no condition"),
    ("__import__('os').system('true')", "which is no condition"),
    ("elapsed(open('/etc/passwd'))", "only numbers, texts and lists"),
    ("elapsed(*[1])", "only numbers, texts and lists"),
    ("elapsed(**{'seconds': 1})", "in a way that is not read"),
    ("elapsed(1, seconds=2)", "seconds twice"),
    ("elapsed(1, 2)", "takes 1 parameters"),
    ("elapsed(second=1)", "has no parameter second"),
    ("elapsed()", "seconds must be a number"),
    ("elapsed(-1)", "between 0 and"),
    ("elapsed('long')", "must be a number"),
    ("elapsed(True)", "must be a number"),
    ("elapsed(1e999)", "must be a number"),
    ("host_pressure_above(5, 'disk')", "must be one of cpu, memory, io"),
    ("gpu_xid(79)", "must be a list"),
    ("gpu_hot(1)", "There is no stop condition 'gpu_hot'; there are"),
    ("x" * 5000, "longer than 4096"),
    ("gpu_xid() & elapsed(1)", "cannot be joined with &"),
    ("probe_fails('nobody')", "has no probe named 'nobody'; it has: 'canary'"),
    (7, "must be a text or an object"),
    ({"elapsed": 5}, "must be an object"),
    ({"any": []}, "at least one condition"),
    ({"elapsed": {"seconds": 1}, "lease_gone": {}}, "A part of stop_when must be"),
    ({"any": [{"elapsed": {"seconds": object()}}]}, "must be a number"),
]


@pytest.mark.parametrize(("stop_when", "says"), MISTAKES)
def test_each_mistake_is_told_in_one_sentence(stop_when: object, says: str) -> None:
    with pytest.raises(BadArgument) as told:
        plan_of(stop_when, SCENE)
    assert says in str(told.value)


def test_a_canary_that_is_not_there_is_told() -> None:
    with pytest.raises(BadArgument, match="has 0 canaries"):
        plan_of("canary_wrong_for(5)", Scene({"method": []}))
