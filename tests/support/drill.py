# SPDX-License-Identifier: Apache-2.0
"""Drills with the real agent on a file: the control and the action for experiments, and the host beneath them.

TEST_TTL_S and TEST_MARGIN_S shorten what takes half a minute; TEST_RENEWER names another renewer.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaosgpu.agent.process import Identity, identity, tagged
from chaosgpu.errors import Unreachable
from chaosgpu.fleet import ask
from chaosgpu.fleet.transports import Reply
from chaosgpu.fleet.transports.local import LocalTransport
from chaosgpu.lease import apply, renewal
from support.agent_host import ENTRY, AgentHost
from support.chaos import GUARD, TESTS, UNDO_ALL, Chaos, experiment, python

CONTROL = {"name": "drill", "provider": {"type": "python", "module": "support.drill"}}


class _Losing(LocalTransport):
    """Loses the reply of each apply, after the host has done it."""

    def __init__(self, behind: LocalTransport) -> None:
        super().__init__(behind.command_of("localhost") or ())

    def carry(self, host: str, verb: str, document: bytes, timeout_s: float) -> Reply:
        reply = super().carry(host, verb, document, timeout_s)
        if verb == "apply":
            raise Unreachable(f"The reply of {host} was lost.")
        return reply


def configure_control() -> None:
    """Reach the real agent with the test's faults."""
    transport = LocalTransport([sys.executable, str(ENTRY)])
    ask._Chosen.transport = _Losing(transport) if os.environ.get("TEST_LOSES") == "apply" else transport
    apply.TTL_S = float(os.environ["TEST_TTL_S"])
    apply.MARGIN_S = float(os.environ["TEST_MARGIN_S"])
    if "TEST_RENEWER" in os.environ:
        renewal.RENEWER = (sys.executable, os.environ["TEST_RENEWER"])


def break_file(duration_s: float = 30, fault: str = "test.file.set", timeout_s: float = 20) -> dict[str, Any]:
    """Change the text in the test's file, or lock it."""
    path = os.environ["TEST_FILE"]
    return apply.apply_fault(fault, {"path": path}, duration_s=duration_s, hosts="localhost", timeout_s=timeout_s)


def leave_a_child(seconds: float = 20) -> None:
    """Fork as a careless activity does: the child has every file of the controller, the renewer's pipe too."""
    if os.fork() == 0:
        for stream in (1, 2):
            os.close(stream)
        time.sleep(seconds)
        os._exit(0)


class Drill:
    """A host and the `chaos run`s against it."""

    def __init__(self, folder: Path, ttl_s: float = 1.8) -> None:
        self.folder = folder
        self.host = AgentHost(folder)
        self.ttl_s = ttl_s
        self.environment = {
            "CHAOSGPU_AGENT_HOME": str(self.host.home),
            "TEST_FILE": str(self.host.file),
            "TEST_TTL_S": str(ttl_s),
            "TEST_MARGIN_S": "10",
            "PYTHONPATH": str(TESTS),
        }
        self.waiting = folder / "waiting"

    def wait(self, seconds: float) -> dict[str, Any]:
        return python("wait", "wait", seconds=seconds, mark=str(self.waiting))

    def chaos(
        self,
        method: list[dict[str, Any]],
        folder: Path,
        rollbacks: Sequence[dict[str, Any]] = (UNDO_ALL,),
        environment: Mapping[str, str] | None = None,
    ) -> Chaos:
        content = experiment(method, controls=[CONTROL, GUARD], rollbacks=list(rollbacks))
        return Chaos(folder, content, ignore=(), **(self.environment | dict(environment or {})))

    def breaking(self, seconds: float, **environment: str) -> Chaos:
        """Start a run that breaks the file and waits; return it when the fault is in force and it waits."""
        method = [python("break it", "break_file", module="support.drill"), self.wait(seconds)]
        chaos = self.chaos(method, self.folder, environment=environment)
        chaos.wait_for(self.waiting, 30)
        assert self.host.broken()
        return chaos

    def command(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the `chaosgpu` command against the same host."""
        program = (
            "import sys; from support.drill import configure_control; configure_control(); "
            "from chaosgpu.cli.main import main; sys.exit(main())"
        )
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=folder or self.folder,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def renewer(self) -> Identity:
        """Find the renewer of the one run; what it has just forked looks like it, and is younger."""
        return min(self.renewers(), key=lambda who: who.start_time)

    def renewers(self) -> list[Identity]:
        """Find the renewers of this test's runs."""
        return [who for who in tagged("CHAOSGPU_AGENT_HOME", str(self.host.home)) if b"renewer" in _command(who.pid)]

    def leases(self) -> list[dict[str, Any]]:
        """Read the records of the host, without touching them."""
        found = []
        for path in sorted((self.host.home / "leases").iterdir()):
            state = self.host.lease_folder(path.name).seen()
            if state is not None:
                found.append({"lease": path.name, **json.loads(json.dumps(state.to_json()))})
        return found


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def who_is(pid: int) -> Identity:
    """Name a process so that no other is meant."""
    found = identity(pid)
    assert found is not None
    return found
