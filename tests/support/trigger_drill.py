# SPDX-License-Identifier: Apache-2.0
"""The drill of the triggers out of an agent's own file, with the triggers, bounds, sweeps and tries of a test."""

import json
import os
import sys

sys.path.insert(0, sys.argv[1])

from dataclasses import replace

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.triggers import drill as drilling
from chaosgpu.agent.triggers.lone import SWEEP, Trigger
from chaosgpu.agent.triggers.report import as_json
from chaosgpu.agent.triggers.scene import scene_of
from chaosgpu.agent.triggers.sweeps import Sweeps


class _Quick(Sweeps):
    """Those of a cron whose minutes are seconds: one comes if, and only if, the sweep is what is watched."""

    def __init__(self, name: str) -> None:
        self._swept, self._asked = name == SWEEP, 0

    def await_quiet(self, lasts_s: float) -> None:
        """Wait for nothing."""

    def mark(self) -> str:
        self._asked += self._swept
        return str(self._asked)


if __name__ == "__main__":
    drilling._TRIES = int(sys.argv[3])
    wanted = [Trigger(**line) for line in json.loads(sys.argv[2])]
    try:
        scene = scene_of((sys.executable, "-I", "-S", sys.argv[1]), os.environ)
        scene = replace(scene, sweeps=_Quick(wanted[0].name))
        found = drilling.drill(scene, wanted, lambda line: sys.stderr.write(f"{line}\n"))
    except AgentError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(as_json(scene, found)))
