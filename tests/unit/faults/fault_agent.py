# SPDX-License-Identifier: Apache-2.0
"""The real agent with its real faults as a script: holders and keepers start from it, claims lie beside the home."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # for keepers and holders, which start in /

from chaosgpu.agent.main import Parts, main


def parts() -> Parts:
    """Return the agent's parts, with everything machine-wide kept beside its home."""
    beside = Path(os.environ["CHAOSGPU_AGENT_HOME"]).parent
    return Parts(
        command=(sys.executable, __file__),
        claims_directory=str(beside),
        run_halt=str(beside / "run" / "HALT"),
        dev_log=str(beside / "log"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, parts()))
