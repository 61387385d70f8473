# SPDX-License-Identifier: Apache-2.0
"""A host of its own for one test: a home, a policy, a file to break, and the real agent as a child process."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.main import main
from chaosgpu.agent.process import Identity, alive, end_group, tagged
from chaosgpu.agent.record import State
from support.agent_entry import parts_for
from support.agent_faults import is_locked

ENTRY = Path(__file__).with_name("agent_entry.py")
FILE, LOCK = "test.file.set", "test.lock.hold"
POLICY = {"version": 1, "permit": ["test.*"], "max_duration_s": 600}


class AgentHost:
    """Starts verbs, looks at what is on disk and in force, and ends what it started."""

    def __init__(self, folder: Path, name: str = "home") -> None:
        self.folder = folder
        self.home = folder / name
        self.home.mkdir()
        self.policy(POLICY)
        self.file = folder / "file"
        if not self.file.exists():
            self.file.write_text("well")
        # pytest changes that one at each test, also while a thread of an earlier test reads this.
        kept = {key: os.environ[key] for key in list(os.environ) if key != "PYTEST_CURRENT_TEST"}
        self.environment = {**kept, "CHAOSGPU_AGENT_HOME": str(self.home)}

    def policy(self, content: object) -> None:
        (self.home / "policy.json").write_text(content if isinstance(content, str) else json.dumps(content))

    def start(
        self, verb: str, request: object, environment: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        child = subprocess.Popen(
            [sys.executable, str(ENTRY), verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **(environment or {})},
        )
        assert child.stdin is not None
        child.stdin.write(request if isinstance(request, bytes) else json.dumps(request).encode())
        child.stdin.close()
        child.stdin = None
        return child

    def ask(self, verb: str, **request: object) -> dict[str, Any]:
        """Run a verb in this process: quicker, and the same code."""
        return self.tell(verb, {"protocol": 1, **request})

    def tell(self, verb: str, request: object, **parts: Any) -> dict[str, Any]:
        """Run a verb in this process with a whole request and changed parts."""
        raw = request if isinstance(request, bytes) else json.dumps(request).encode()
        out = io.BytesIO()
        status = main(verb.split(), io.BytesIO(raw), out, parts_for(self.home, **parts), self.environment)
        answer: dict[str, Any] = json.loads(out.getvalue())
        assert ("error" in answer) == (status == 1)
        return {**answer, "status": status}

    def finish(self, child: "subprocess.Popen[bytes]") -> dict[str, Any]:
        """Return the answer, with "status"; a killed agent has the status alone."""
        out, err = child.communicate(timeout=60)
        if child.returncode < 0:
            return {"status": child.returncode}
        assert child.returncode in (0, 1), err.decode()
        assert len(out.splitlines()) == 1, err.decode()
        answer: dict[str, Any] = json.loads(out)
        assert ("error" in answer) == (child.returncode == 1)
        return {**answer, "status": child.returncode}

    def order(self, fault: str = FILE, lease: str = "l1", **changes: object) -> dict[str, object]:
        params: dict[str, object] = {"path": str(self.file)}
        for key in ("value", "breaks", "until"):
            if key in changes:
                params[key] = changes.pop(key)
        order = {"lease": lease, "fault": fault, "params": params, "ttl_s": 20, "max_duration_s": 60, "run": "r1"}
        return {**order, **changes}

    def apply(self, fault: str = FILE, lease: str = "l1", **changes: object) -> dict[str, Any]:
        return self.ask("apply", **self.order(fault, lease, **changes))

    def undo(self, lease: str = "l1") -> dict[str, Any]:
        [line] = self.ask("undo", lease=lease)["leases"]
        assert isinstance(line, dict)
        return line

    def lease_folder(self, lease: str = "l1") -> LeaseFolder:
        return LeaseFolder(Home(str(self.home), limited=True), lease, SystemClock())

    def state(self, lease: str = "l1") -> State:
        state = self.lease_folder(lease).seen()
        assert state is not None
        return state

    def over(self, lease: str = "l1") -> bool:
        """Tell whether the lease's time has passed, whatever its state says."""
        state = self.state(lease)
        return state.over(state.boot, SystemClock().boottime_s())

    def broken(self) -> bool:
        """Tell whether one of the two faults is in force."""
        return self.file.read_text() != "well" or is_locked(self.file)

    def keepers(self) -> list[Identity]:
        return [who for who in tagged("CHAOSGPU_AGENT_HOME", str(self.home)) if _verb(who) == b"keep"]

    def holders(self) -> list[Identity]:
        return [who for who in tagged("CHAOSGPU_AGENT_HOME", str(self.home)) if _verb(who) == b"hold"]

    def claims(self) -> list[Path]:
        return sorted(self.folder.glob("chaosgpu-claim-*"))

    def kill(self, who: Identity) -> None:
        os.kill(who.pid, signal.SIGKILL)
        wait_until(lambda: not alive(who))

    def residue(self) -> list[str]:
        """Name whatever is left of any lease: the fault, processes, claims. Records are meant to stay."""
        left = [f"claim {path.name}" for path in self.claims()]
        left += [f"process {who.pid} {_verb(who)!r}" for who in tagged("CHAOSGPU_AGENT_HOME", str(self.home))]
        return left + (["the fault"] if self.broken() else [])

    def close(self) -> None:
        for who in tagged("CHAOSGPU_AGENT_HOME", str(self.home)):
            end_group(who, time.sleep)


def _verb(who: Identity) -> bytes:
    try:
        words = Path(f"/proc/{who.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return b""
    return words[2] if len(words) > 2 else b""


def wait_until(true: Any, within_s: float = 10.0) -> float:
    """Wait until it is true; return how long it took, in seconds."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < within_s, "it did not come true"
        time.sleep(0.01)
    return time.monotonic() - start
