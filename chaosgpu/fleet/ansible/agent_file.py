# SPDX-License-Identifier: Apache-2.0
"""The agent's file that belongs to this controller: only that one may put a fault in on a host."""

import functools
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from chaosgpu.errors import AgentFailed

__all__ = ["agent_digest", "agent_file"]

_BUILD_S = 60.0


@functools.cache
def agent_file() -> bytes:
    """Build the agent as `provision` does, once a process."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-") as folder:
        output = Path(folder) / "agent.pyz"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "chaosgpu.agent.zipapp", str(output)],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_BUILD_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise AgentFailed(f"The agent's file was not built within {_BUILD_S:g} s.") from error
        if done.returncode != 0:
            raise AgentFailed(
                f"The agent's file could not be built here: {done.stderr.decode(errors='replace')[-600:]}"
            )
        return output.read_bytes()


def agent_digest() -> str:
    """Return its SHA-256."""
    return hashlib.sha256(agent_file()).hexdigest()
