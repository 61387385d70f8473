# SPDX-License-Identifier: Apache-2.0
"""The agent of a virtual machine with two things more: it can stop for ever at a step, and it has a fault that stays.

`CHAOSGPU_STOP=STEP` names the step. The fault writes a file and syncs it, so that it is there after a pulled plug.
"""

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

HERE = "/usr/libexec/chaosgpu"
sys.path[:0] = [f"{HERE}/agent.pyz", f"{HERE}/test"]

from chaosgpu.agent.faults.contract import Context  # noqa: E402 (from the agent's file)
from chaosgpu.agent.faults.registry import REGISTRY  # noqa: E402 (as above)
from chaosgpu.agent.main import Parts, main  # noqa: E402 (as above)
from chaosgpu.agent.values import JsonMapping  # noqa: E402 (as above)
from support.agent_faults import FileParams, FileSet  # noqa: E402 (a copy of it lies there)

if TYPE_CHECKING:
    from chaosgpu.agent.host import AnyFault


class SyncedFileSet(FileSet):
    """Changes the text in a file so that it outlives a pulled plug, and puts it back likewise."""

    name = "test.file.synced"

    def inject(self, params: FileParams, prior: JsonMapping, context: Context) -> None:
        """Write, and sync at once."""
        super().inject(params, prior, context)
        os.sync()

    def undo(self, params: FileParams, prior: JsonMapping, context: Context) -> None:
        """Put back, and sync before anybody says that it was."""
        super().undo(params, prior, context)
        os.sync()


def stop_at(step: str) -> None:
    """Stop for ever at the step that was named, with everything open as it is."""
    if step == os.environ.get("CHAOSGPU_STOP"):
        with open(f"/run/stopped-{os.getpid()}", "w", encoding="utf-8"):  # noqa: PTH123 (as the agent does)
            while True:
                signal.pause()


def run() -> int:
    """Be the agent."""
    registry: dict[str, AnyFault] = {**REGISTRY, SyncedFileSet.name: SyncedFileSet()}
    parts = replace(Parts(), registry=lambda: registry, command=(sys.executable, f"{HERE}/entry"), step=stop_at)
    return main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, parts)


if __name__ == "__main__":
    sys.exit(run())
