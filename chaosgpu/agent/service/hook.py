# SPDX-License-Identifier: Apache-2.0
"""A site's own program for what we do not speak: a load balancer, another scheduler. Called with one more word.

`check`: could it be drained, or returned, now? It touches nothing. `drain`, `return`: do it, and return when it is
done; again must be harmless, since we may be killed before we have noted it. Standard input has one JSON object.
"""

import json
import os
import stat
from typing import Dict, List, Tuple

from chaosgpu.agent.errors import Forbidden, Refused, Unverified
from chaosgpu.agent.service.desk import Desk
from chaosgpu.agent.service.program import run
from chaosgpu.agent.service.record import Taken
from chaosgpu.agent.service.thing import Budget, Judged, Thing
from chaosgpu.agent.values import JsonObject

__all__ = ["Hook"]

_CHECK_WITHIN_S = 30.0
_OUT = "drained"
_IN = "in service"


class Hook(Thing):
    """The hook that a drain names."""

    kind = "hook"
    entry = True

    def __init__(self, words: Tuple[str, ...], drill: str, reason: str, desk: Desk) -> None:
        self._words, self._drill, self._reason, self._desk = words, drill, reason, desk

    def prior(self) -> JsonObject:
        """Ask it whether it could; refuse a program that somebody else could change."""
        self._check("drain")
        return {"hook": self._words[0]}

    def shown(self, taken: Taken) -> Dict[str, str]:
        """Say what it was called with last, as far as we know."""
        return {f"hook {self._words[0]}": _OUT if taken.stage in ("taken", "putting back") else _IN}

    def drained(self, taken: Taken) -> Dict[str, str]:  # noqa: ARG002 (contract)
        """Say that it was called with drain."""
        return {f"hook {self._words[0]}": _OUT}

    def take(self, taken: Taken, budget: Budget) -> None:  # noqa: ARG002 (contract)
        """Call it with drain."""
        self._call("drain", "drain", budget.left_s())

    def judge(self, taken: Taken) -> Judged:  # noqa: ARG002 (contract)
        """Ask it whether it could be returned."""
        self._check("return")
        return Judged({}, {f"hook {self._words[0]}": _IN})

    def put_back(self, taken: Taken, budget: Budget) -> List[str]:  # noqa: ARG002 (contract)
        """Call it with return."""
        self._call("return", "return", budget.left_s())
        return []

    def _check(self, going: str) -> None:
        self._refuse_unsafe()
        self._call("check", going, _CHECK_WITHIN_S)

    def _call(self, word: str, going: str, within_s: float) -> None:
        self._refuse_unsafe()
        told: JsonObject = {"going": going, "drill": self._drill, "reason": self._reason, "host": os.uname().nodename}
        done = run((*self._words, word), within_s, stdin=json.dumps(told) + "\n")
        self._desk.step(f"called the hook with {word}")
        if not done.well:
            kind = Refused if word == "check" else Unverified
            raise kind(f"The hook said no to `{word}`: {done.sentence()}")

    def _refuse_unsafe(self) -> None:
        """Refuse a program that anybody but its owner could change, or put another in place of: it runs as root."""
        path = self._words[0]
        if os.path.dirname(path) != self._desk.hooks:  # noqa: PTH120 (pathlib costs 9 ms at start)
            raise Forbidden(
                f"The hook {path} is not in {self._desk.hooks}: it would run as root for whoever may call us, and "
                "which programs may is for this host's owner to say, by putting them there."
            )
        if os.path.realpath(path) != os.path.normpath(path):
            raise Forbidden(f"The hook {path} is a link or behind one: name {os.path.realpath(path)} itself.")
        folder = path
        while True:
            try:
                found = os.stat(folder)  # noqa: PTH116 (as above)
            except OSError as error:
                raise Refused(f"The hook {path} is not there: {error.strerror}.") from error
            sticky = folder != path and found.st_mode & stat.S_ISVTX and self._desk.home.limited
            writable = 0 if sticky else found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if found.st_uid not in (0, self._desk.owner) or writable:
                raise Forbidden(
                    f"The hook {path} would run as root, and {folder} belongs to user {found.st_uid} with mode "
                    f"{stat.S_IMODE(found.st_mode):o}: it and its folders must be root's and writable for nobody else."
                )
            if folder == "/":
                break
            folder = os.path.dirname(folder)  # noqa: PTH120 (as above)
        if not os.access(path, os.X_OK) or not os.path.isfile(path):  # noqa: PTH113 (as above)
            raise Refused(f"The hook {path} is no program that can be run.")
