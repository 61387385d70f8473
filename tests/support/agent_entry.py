# SPDX-License-Identifier: Apache-2.0
"""The real agent with the test's two faults: a script, so that keepers and holders start from it too.

TEST_KILL_AT=n kills the process at its n-th step; TEST_STEPS names a file that gets the name of each step.
The claims are kept beside CHAOSGPU_AGENT_HOME, so that several homes of one test share them.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaosgpu.agent.main import Parts, main
from support.agent_faults import FAULTS, ROLES


class Steps:
    """Counts the steps and dies at the chosen one."""

    def __init__(self) -> None:
        self._left = int(os.environ.get("TEST_KILL_AT", "0"))
        self._names = os.environ.get("TEST_STEPS")

    def __call__(self, name: str) -> None:
        if self._names:
            with Path(self._names).open("a", encoding="utf-8") as file:
                file.write(name + "\n")
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def parts_for(home: Path, **changes: Any) -> Parts:
    """Return the agent's parts for a home of a test."""
    parts = Parts(
        registry=lambda: FAULTS,
        roles=lambda: ROLES,
        command=(sys.executable, str(Path(__file__).resolve())),
        claims_directory=str(home.parent),
        run_halt=str(home.parent / "run" / "HALT"),
        dev_log=str(home.parent / "log"),
    )
    return replace(parts, **changes)


if __name__ == "__main__":
    here = parts_for(Path(os.environ["CHAOSGPU_AGENT_HOME"]), step=Steps())
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, here))
