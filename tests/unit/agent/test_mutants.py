# SPDX-License-Identifier: Apache-2.0
"""The mistakes that are planted in the kernel: of each kind one, and none where nothing hangs on it."""

from kernel import KERNEL, ROOT
from mutants import mutants
from mutation import equivalents

SOURCE = """
__all__ = ["f"]
STATES = ("armed",)


def f(host, a: "word", b=True):
    '''Text.'''
    host.step("armed")
    if a < 3 and not b:
        raise ValueError(f"No sentence {a} is changed.")
    try:
        host.go()
    except OSError:
        return min(a, 1)
    return "A sentence is not changed."
"""


def test_each_kind_of_mistake_is_made_once_for_each_place() -> None:
    made = [mutant.what.split(" | ")[1] for mutant in mutants("x.py", SOURCE)]
    for kind in (
        "'armed' -> 'armedx' at 10", "True -> False at 25", "Lt -> LtE 0", "and <-> or", "without part 0",
        "not left out", "3 -> 4 at 11", "If True", "If False", "without `host.go()` in body 0", "except raises again",
        "min -> max", "return None",
    ):  # fmt: skip
        assert kind in made, kind
    assert not [what for what in made if "sentence" in what and "raise" not in what]
    assert not [what for what in made if "word" in what or "step" in what or "'f'" in what]


def test_every_mutant_differs_and_has_a_key_of_its_own() -> None:
    found = list(mutants("x.py", SOURCE))
    assert len({mutant.key for mutant in found}) == len({mutant.source for mutant in found}) == len(found)


def test_what_is_held_for_the_same_is_a_mutant_of_the_kernel_as_it_is() -> None:
    keys = (
        {mutant.key for name in KERNEL for mutant in mutants(name, (ROOT / name).read_text())}
        if equivalents()
        else set()
    )
    assert set(equivalents()) <= keys
