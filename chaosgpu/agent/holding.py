# SPDX-License-Identifier: Apache-2.0
"""A holder seen from outside: started gated, let go, ended. What it sees of itself is in `hold.py`.

It gets its order on standard input, says that it is ready, and waits for "go"; if we die first, it sees the end of
its input and ends. It carries its lease in its environment, so that one whose pid nobody wrote down is found too.
"""

import json
import os
import select
from typing import Callable, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent.clock import Clock
from chaosgpu.agent.errors import AgentError, BadRequest, DriverFailed, NoEffect, Refused
from chaosgpu.agent.faults.contract import HolderPlan
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.process import Identity, closing_all, end_group, identity, spawn_detached, tagged
from chaosgpu.agent.values import JsonObject

__all__ = ["TAG", "GatedHolder", "OwnUnit", "end_holder", "start_holder"]

TAG = "CHAOSGPU_LEASE"
READY_WITHIN_S = 20.0
FIRST_REPORT_WITHIN_S = 5.0
_STEP_S = 0.005
# Turns the words and environment of a process into those that start it in a unit of its own.
OwnUnit = Callable[[Sequence[str], Mapping[str, str]], Tuple[Sequence[str], Mapping[str, str]]]
_KINDS = {kind.kind: kind for kind in (BadRequest, Refused, NoEffect, DriverFailed)}


class GatedHolder:
    """A holder that is ready and waits; nothing is held before `let_go`."""

    def __init__(self, who: Identity, requests: int, answers: int) -> None:
        self.identity = who
        self._requests, self._answers = requests, answers

    def let_go(self) -> None:
        """Open the gate."""
        try:
            os.write(self._requests, b"go\n")
        except BrokenPipeError as error:
            raise Refused("The holder process ended before it was let go; its log is in the lease's folder.") from error
        self.close()

    def close(self) -> None:
        """Close the pipes; a holder that was not let go ends by this."""
        for descriptor in (self._requests, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._requests = self._answers = -1


def start_holder(
    command: Sequence[str],
    folder: LeaseFolder,
    plan: HolderPlan,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    own_unit: OwnUnit,
) -> GatedHolder:
    """Start the holder and wait until it is ready; it raises what the holder refused with, or Refused."""
    words, tagged_environment = own_unit([*command, "hold", folder.path], {**environment, TAG: folder.path})
    with closing_all() as ours:
        log = os.open(f"{folder.path}/holder.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        ours.append(log)
        order_end, requests = os.pipe()
        ours += [order_end, requests]
        answers, answer_end = os.pipe()
        ours += [answers, answer_end]
        pid = spawn_detached(words, tagged_environment, (order_end, answer_end, log))
        who = None if pid is None else identity(pid)
        if who is None:
            raise Refused(
                "The holder process could not be started (are there too many processes?); nothing was touched."
            )
        ours.remove(requests)
        ours.remove(answers)
    holder = GatedHolder(who, requests, answers)
    try:
        os.write(requests, json.dumps({"role": plan.role, "request": plan.request}).encode() + b"\n")
        _wait_ready(answers, folder, clock)
    except BrokenPipeError as error:
        holder.close()
        raise _ended(folder) from error
    except AgentError:
        holder.close()
        end_group(who, clock.sleep)
        raise
    return holder


def _wait_ready(answers: int, folder: LeaseFolder, clock: Clock) -> None:
    raw = b""
    end_s = clock.boottime_s() + READY_WITHIN_S
    while b"\n" not in raw:
        left_s = end_s - clock.boottime_s()
        poll = select.poll()
        poll.register(answers, select.POLLIN)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise Refused(f"The holder process was not ready within {READY_WITHIN_S:g} s; it was ended.")
        block = os.read(answers, 65536)
        if not block:
            raise _ended(folder)
        raw += block
    answer = json.loads(raw)
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict):
        raise _KINDS.get(str(error.get("kind")), Refused)(str(error.get("message")))


def _ended(folder: LeaseFolder) -> Refused:
    try:
        with open(f"{folder.path}/holder.log", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (9 ms)
            said = file.read()[-400:].strip()
    except OSError:
        said = ""
    return Refused(f"The holder process ended before it was ready; it said: {said or 'nothing'}")


def first_report(folder: LeaseFolder, who: Optional[Identity], clock: Clock) -> Optional[JsonObject]:
    """Wait a moment for the holder's first report; None if there is no holder, it gave none, or it has ended."""
    end_s = clock.boottime_s() + FIRST_REPORT_WITHIN_S
    while True:
        held = folder.held(who)
        if held is None or held.report or not held.alive or clock.boottime_s() >= end_s:
            return held.report if held else None
        clock.sleep(_STEP_S)


def end_holder(folder: LeaseFolder, recorded: Optional[Identity], clock: Clock) -> bool:
    """End the recorded holder and whatever else carries this lease's tag; False if one of them does not end."""
    ended = recorded is None or end_group(recorded, clock.sleep)
    for who in tagged(TAG, folder.path):
        ended = end_group(who, clock.sleep) and ended
    return ended
