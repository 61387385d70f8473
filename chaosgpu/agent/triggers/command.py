# SPDX-License-Identifier: Apache-2.0
"""`agent.pyz self-drill` on a host: prove as root that each of its triggers alone undoes a lease."""

import argparse
import contextlib
import json
import os
import sys
from typing import Sequence

from chaosgpu.agent.errors import AgentError
from chaosgpu.agent.triggers.drill import drill, triggers_of
from chaosgpu.agent.triggers.report import as_json, as_table
from chaosgpu.agent.triggers.scene import scene_of

__all__ = ["REPETITIONS", "run", "say"]

REPETITIONS = 5
_NOT_DONE, _INTERRUPTED = 2, 130


def run(argv: Sequence[str], command: Sequence[str]) -> int:
    """Drill this host with the agent that these words start; print the table or JSON, and tell whether it holds."""
    parser = argparse.ArgumentParser(
        prog="agent.pyz self-drill",
        description="Prove on this host, as root, that each trigger alone undoes a harmless lease.",
        epilog="Exit code: 0 each of them does, 1 one does not, 2 it could not be done.",
    )
    parser.add_argument("--repeat", type=int, default=REPETITIONS, metavar="N", help="leases for keeper and timer (5)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    args = parser.parse_args(argv)
    try:
        scene = scene_of(command, os.environ)
        found = drill(scene, triggers_of(scene.systemd, args.repeat), say)
    except AgentError as error:
        say(str(error))
        return _NOT_DONE
    except KeyboardInterrupt:
        say("interrupted")
        return _INTERRUPTED
    sys.stdout.write(json.dumps(as_json(scene, found)) + "\n" if args.json else as_table(found))
    return 0 if found.holds else 1


def say(line: str) -> None:
    """Tell whoever waits; that nobody listens any more must not end the drill."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
