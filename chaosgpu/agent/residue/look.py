# SPDX-License-Identifier: Apache-2.0
"""Look for residue, in a process of its own with a deadline, so that no file or program of an ill host hangs us.

What is found is looked at again a moment later, and counts if it is still there: what was just being done is none.
"""

import json
import os
import select
import signal
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from chaosgpu.agent.errors import FAULT_BROKE, AgentError
from chaosgpu.agent.residue.finding import Family, Finding, Found, Unlooked, families
from chaosgpu.agent.residue.scene import Scene
from chaosgpu.agent.values import JsonObject

__all__ = ["Residue", "look"]

FAMILY_WITHIN_S = 8.0
ALL_WITHIN_S = 25.0
SETTLE_S = 0.7
_REAP_TRIES, _REAP_STEP_S = 100, 0.005


@dataclass(frozen=True)
class Residue:
    """What was found, and for each family that could not be looked at wholly, why."""

    findings: Tuple[Finding, ...]
    unknown: Dict[str, Tuple[str, ...]]


def look(
    scene: Scene,
    owner: Optional[str] = None,
    *,
    known: Optional[Sequence[Family]] = None,
    family_within_s: float = FAMILY_WITHIN_S,
    all_within_s: float = ALL_WITHIN_S,
) -> Residue:
    """Look at every family, or at those of one owner; it changes nothing."""
    end_s = scene.clock.boottime_s() + all_within_s
    first = _in_child(scene, tuple(families(owner) if known is None else known), family_within_s, end_s)
    suspect = tuple(one for one in first if first[one].findings)
    if not suspect:
        return _residue(first)
    scene.clock.sleep(SETTLE_S)
    second = _in_child(scene.again(), suspect, family_within_s, end_s)
    for one in suspect:
        still = {(finding.kind, finding.where) for finding in second[one].findings}
        if second[one].unknown == first[one].unknown:
            first[one].findings[:] = [each for each in first[one].findings if (each.kind, each.where) in still]
        # Where the second look saw less than the first, what the first saw stands.
    return _residue(first)


def _residue(found: Dict[Family, Found]) -> Residue:
    findings = [finding for one in found.values() for finding in one.findings]
    return Residue(tuple(findings), {one.name: tuple(each.unknown) for one, each in found.items() if each.unknown})


def _in_child(scene: Scene, asked: Tuple[Family, ...], within_s: float, end_s: float) -> Dict[Family, Found]:
    """Look at these families in a child; after one that hangs, at the rest in another."""
    found: Dict[Family, Found] = {}
    while len(found) < len(asked):
        rest = asked[len(found) :]
        child = _Child(scene, rest)
        try:
            for one in rest:
                found[one] = Found(one)
                left_s = min(within_s, end_s - scene.clock.boottime_s())
                line = child.line(max(0.0, left_s), scene.clock.boottime_s)
                if line is None:
                    found[one].could_not(f"it was not looked at to the end within {max(0.0, left_s):.1f} s")
                    break
                if not line:
                    found[one].could_not("the process that looked ended before it had an answer")
                    break
                _fill(found[one], json.loads(line))
        finally:
            child.end()
    return found


def _fill(found: Found, answer: Any) -> None:
    found.findings.extend(Finding(**finding) for finding in answer["findings"])
    found.unknown.extend(answer["unknown"])


def _look_at(one: Family, scene: Scene) -> JsonObject:
    """Let one family look; whatever it breaks with is a reason why it is not known to be clean."""
    found = Found(one)
    try:
        one.look(scene, found)
    except Unlooked as error:
        found.could_not(str(error))
    except AgentError as error:
        found.could_not(str(error))
    except FAULT_BROKE as error:
        found.could_not(f"looking broke: {type(error).__name__}: {error}")
    return {"findings": [finding.to_json() for finding in found.findings], "unknown": [*found.unknown]}


class _Child:
    """A fork of this process that looks, and writes one line a family."""

    def __init__(self, scene: Scene, asked: Sequence[Family]) -> None:
        self._sleep = scene.clock.sleep
        self._answers, answer_end = os.pipe()
        self._unread = b""
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.setsid()  # so that what it starts is ended with it
                with os.fdopen(answer_end, "wb") as answers:
                    for one in asked:
                        answers.write(json.dumps(_look_at(one, scene)).encode() + b"\n")
                        answers.flush()
            finally:
                os._exit(0)  # never back into the caller's code, whatever happened
        os.close(answer_end)

    def line(self, within_s: float, now_s: Callable[[], float]) -> Optional[bytes]:
        """Return the next line, an empty one if the child has ended, None if the time is over."""
        end_s = now_s() + within_s
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while b"\n" not in self._unread:
            left_s = end_s - now_s()
            if left_s < 0 or not poll.poll(left_s * 1000):
                return None
            block = os.read(self._answers, 1 << 16)
            if not block:
                return b""
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def end(self) -> None:
        """End it, with what it started; one that is stuck in the kernel is left to it."""
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except (PermissionError, ProcessLookupError):
            _kill_alone(self._pid)
        os.close(self._answers)
        for _ in range(_REAP_TRIES):
            if os.waitpid(self._pid, os.WNOHANG)[0]:
                return
            self._sleep(_REAP_STEP_S)


def _kill_alone(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
