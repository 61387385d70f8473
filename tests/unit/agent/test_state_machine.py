# SPDX-License-Identifier: Apache-2.0
"""Leases under whatever may happen, in any order; and the same machine finds a kernel with a mistake planted in it.

CHAOSGPU_MACHINE_EXAMPLES sets how many lives of the host are played; each has thirty events.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from chaosgpu.agent import lease as applying
from chaosgpu.agent import mend, renewal, revert, store
from chaosgpu.agent.claims import Owner
from chaosgpu.agent.faults.contract import Restored
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.record import State, Undo
from support.lease_machine import LeaseMachine
from support.lease_world import Keepers, World

EXAMPLES = int(os.environ.get("CHAOSGPU_MACHINE_EXAMPLES", "40"))
FIND_WITHIN, LIVES = 100, 6


def play(examples: int) -> None:
    """Play so many lives of the host, the same ones each time."""
    plays = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LeaseMachine, settings=plays)


def test_nothing_is_left_behind_whatever_happens_in_whatever_order() -> None:
    play(EXAMPLES)


def test_the_same_lives_are_played_each_time() -> None:
    """What has been found can be looked at again: nothing hangs on the time, on chance or on the machine."""
    first, second = told(LIVES), told(LIVES)
    assert len(first) > 10 * LIVES
    assert first == second


def told(examples: int) -> list[str]:
    """Play, and return every answer in turn, without the names that each life makes anew."""
    answers: list[str] = []
    ask = World.ask

    def kept(world: World, user: str, verb: str, *arguments: Any, **request: Any) -> Any:
        answer = ask(world, user, verb, *arguments, **request)
        said = json.dumps([user, verb, answer]).replace(str(world.folder), "")
        answers.append(re.sub("[0-9a-f]{32}", "#", said))  # a claim's file is named by the digest of what it is on
        return answer

    with mock.patch.object(World, "ask", kept):
        play(examples)
    return answers


# ---- the controls: one mistake each, as somebody might make it


def the_undo_record_is_written_after_the_fault(patch: pytest.MonkeyPatch) -> None:
    """Do as others do: if the agent dies between, nobody knows what to put back."""
    late: list[Callable[[], None]] = []
    write, prove = LeaseFolder.write_undo, applying._Applying._prove
    patch.setattr(LeaseFolder, "write_undo", lambda folder, undo: late.append(lambda: write(folder, undo)))

    def write_then_prove(self: Any, *arguments: Any) -> State:
        late.pop()()
        return prove(self, *arguments)

    patch.setattr(applying._Applying, "_prove", write_then_prove)


def the_claims_are_given_up_before_it_is_read_back(patch: pytest.MonkeyPatch) -> None:
    put_back = revert._put_back

    def too_soon(host: Any, folder: LeaseFolder, state: State, undo: Undo | None) -> Restored:
        try:
            return put_back(host, folder, state, undo)
        finally:
            host.claims.release(state.claims, Owner(host.home.path, folder.lease))

    patch.setattr(revert, "_put_back", too_soon)


def a_damaged_record_is_executed(patch: pytest.MonkeyPatch) -> None:
    def trusting(folder: str, name: str) -> Any:
        path = Path(folder, name)
        try:
            return json.loads(path.read_bytes().partition(b"\n")[2]) if path.exists() else None
        except ValueError as error:
            raise store.Damaged(str(error)) from error

    patch.setattr("chaosgpu.agent.folder.read_document", trusting)


def a_renewal_revives(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(renewal, "why_over", lambda *_: None)


def what_the_undo_says_is_believed(patch: pytest.MonkeyPatch) -> None:
    put_back = revert._put_back

    def gullible(*arguments: Any) -> Restored:
        return Restored(clean=True, values=put_back(*arguments).values)

    patch.setattr(revert, "_put_back", gullible)


def an_earlier_start_of_the_host_is_not_told_from_this_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "left_s", lambda self, _, now_s: max(0.0, min(self.deadline_s, self.end_s) - now_s))
    why_over = mend.why_over

    def forgetful(host: Any, folder: LeaseFolder, state: State) -> tuple[str, str] | None:
        due = why_over(host, folder, state)
        return None if due is not None and "started anew" in due[1] else due

    for module in (mend, renewal):
        patch.setattr(module, "why_over", forgetful)


def nothing_is_armed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Keepers, "arm", lambda *_: lambda: None)


def an_apply_that_died_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseFolder, "being_applied", lambda _: True)


def a_used_up_id_is_applied_again(patch: pytest.MonkeyPatch) -> None:
    reserve = applying._reserve

    def forgets_the_ended(host: Any, folder: LeaseFolder, *arguments: Any) -> None:
        state = folder.seen()
        if state is not None and state.state == "clean":
            Path(folder.path, "state").unlink()
        reserve(host, folder, *arguments)

    patch.setattr(applying, "repeated", lambda *_: None)
    patch.setattr(applying, "_reserve", forgets_the_ended)


def a_halt_is_not_looked_at_before_the_fault(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("chaosgpu.agent.halt.refuse_if_latched", lambda _: None)


def a_claim_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("chaosgpu.agent.claims.Claims.take", lambda *_: None)
    patch.setattr("chaosgpu.agent.claims.Claims.refuse_held", lambda *_: None)


# Each mistake with the sentence by which the machine must name it, and not by any other.
PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], str]] = [
    (the_undo_record_is_written_after_the_fault, "its undo record is not on disk|undo record of lease l[0-9]+ is gone"),
    (the_claims_are_given_up_before_it_is_read_back, "a fault is in force and its claim is not held"),
    (a_damaged_record_is_executed, "a damaged record was executed"),
    (a_renewal_revives, "renew revived one that is over"),
    (what_the_undo_says_is_believed, "has ended and its fault is in force"),
    (an_earlier_start_of_the_host_is_not_told_from_this_one, "one that is over|lease that is over outlived a sweep"),
    (nothing_is_armed, "active, and nobody would end it"),
    (an_apply_that_died_is_forgotten, "an apply that died outlived a sweep"),
    (a_used_up_id_is_applied_again, "an id that is used up was applied again"),
    (a_halt_is_not_looked_at_before_the_fault, "a fault was put in on a halted host"),
    (a_claim_is_not_asked_for, "a fault is in force and its claim is not held"),
]


@pytest.mark.parametrize(("plant", "sentence"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_kernel_with_a_mistake_is_found(plant: Callable[[pytest.MonkeyPatch], None], sentence: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        with pytest.raises(AssertionError, match=sentence):
            play(FIND_WITHIN)
