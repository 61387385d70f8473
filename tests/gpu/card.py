# SPDX-License-Identifier: Apache-2.0
"""The card under test as it really is: this machine's first GPU, its own agent, its own paths, and an eye of our own.

On a real card the agent works where it works on every host: /etc/chaosgpu/policy.json, /var/lib/chaosgpu, /var/tmp. On
simulated GPUs (`chaosgpu sim run`) it has a home of its own, as it must. Nothing here sets anything on a card.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml as nvml

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.folder import LeaseFolder
from chaosgpu.agent.home import Home
from chaosgpu.agent.process import Identity, alive, identity, tagged

__all__ = ["MIB", "POLICY", "Card", "Memory", "policy_in_force", "until"]

MIB = 1 << 20
POLICY = {"version": 1, "permit": ["gpu.memory.*", "gpu.burn", "gpu.process.*"], "max_duration_s": 120}
SYSTEM_POLICY = Path("/etc/chaosgpu/policy.json")
AGENT = (sys.executable, "-m", "chaosgpu.agent")


@dataclass(frozen=True)
class Memory:
    """One reading of the whole card, in bytes, as NVML gives it to anybody."""

    total: int
    reserved: int
    used: int
    free: int

    @property
    def used_mib(self) -> int:
        """What processes hold."""
        return self.used // MIB


@contextmanager
def policy_in_force(scratch: Path) -> Iterator[str]:
    """See that the host permits what is tested; a policy that its owner wrote is taken as it is and never changed."""
    if os.environ.get("CHAOSGPU_SIM_STATE"):
        home = scratch / "home"
        home.mkdir()
        (home / "policy.json").write_text(json.dumps(POLICY))
        os.environ["CHAOSGPU_AGENT_HOME"] = str(home)
        yield str(home)
        del os.environ["CHAOSGPU_AGENT_HOME"]
        return
    written = not SYSTEM_POLICY.exists()
    if written:
        if not SYSTEM_POLICY.parent.exists():
            SYSTEM_POLICY.parent.mkdir()
            SYSTEM_POLICY.parent.chmod(0o755)
        SYSTEM_POLICY.write_text(json.dumps(POLICY))
        SYSTEM_POLICY.chmod(0o644)
    try:
        yield "/var/lib/chaosgpu"
    finally:
        if written:
            SYSTEM_POLICY.unlink()


class Card:
    """The first GPU; NVML is open in this process, which holds no memory of it."""

    def __init__(self, home: str) -> None:
        self.home = Path(home)
        self.simulated = bool(os.environ.get("CHAOSGPU_SIM_STATE"))
        nvml.nvmlInit()
        self.handle = nvml.nvmlDeviceGetHandleByIndex(0)
        self.uuid = str(nvml.nvmlDeviceGetUUID(self.handle))

    def memory(self) -> Memory:
        """Read the memory."""
        found = nvml.nvmlDeviceGetMemoryInfo(self.handle, version=nvml.nvmlMemory_v2)
        return Memory(int(found.total), int(found.reserved), int(found.used), int(found.free))

    def processes(self) -> dict[int, int | None]:
        """Return each process on the card with the bytes that the driver says it holds."""
        return {int(one.pid): one.usedGpuMemory for one in nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)}

    def start(self, verb: str, **request: object) -> "subprocess.Popen[bytes]":
        """Start a verb of the agent in a process and session of its own."""
        child = subprocess.Popen(
            [*AGENT, verb],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps({"protocol": 1, **request}).encode())
        child.stdin.close()
        child.stdin = None
        return child

    def ask(self, verb: str, **request: object) -> dict[str, Any]:
        """Run a verb to its end; return its answer, an error too."""
        child = self.start(verb, **request)
        try:
            out, said = child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            child.kill()
            out, said = child.communicate()
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise AssertionError(f"{verb} ended with {child.returncode} and said {out!r} {said!r}") from error
        return answer

    def order(self, fault: str, lease: str, ttl_s: float = 60.0, **params: object) -> dict[str, object]:
        """Write the request of an `apply`."""
        given = {"gpu": self.uuid, **params}
        times = {"ttl_s": ttl_s, "max_duration_s": ttl_s}
        return {"lease": lease, "fault": fault, "params": given, "run": "gpu-test", **times}

    def apply(self, fault: str, lease: str, ttl_s: float = 60.0, **params: object) -> dict[str, Any]:
        """Put a fault in and return what the agent answered."""
        return self.ask("apply", **self.order(fault, lease, ttl_s, **params))

    def undo(self, lease: str) -> dict[str, Any]:
        """Undo one lease and return its line."""
        line: dict[str, Any] = self.ask("undo", lease=lease)["leases"][0]
        return line

    def record(self, lease: str) -> dict[str, Any]:
        """Return what the host keeps of a lease; it is only looked at."""
        return self.ask("record", lease=lease)

    def state(self, lease: str) -> str:
        """Return the state that stands in a lease's record, or "none"; nobody mends it by this look."""
        found = LeaseFolder(Home(str(self.home), limited=False), lease, SystemClock()).seen()
        return "none" if found is None else found.state

    def open_leases(self) -> list[str]:
        """Return the folders of leases that the host has not ended, read without touching them."""
        folder = self.home / "leases"
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return [name for name in names if self.state(name) not in ("clean", "tombstone", "none")]

    def claims(self) -> list[str]:
        """Return what is claimed in the name of this card's agent."""
        found = []
        for path in Path("/var/tmp").glob("chaosgpu-claim-*.json"):  # noqa: S108 (the claims' folder)
            with suppress(FileNotFoundError):  # another's, given up just now
                found.append(path.read_text())
        return [text for text in found if json.loads(text)["home"] == str(self.home)]

    def holders(self, lease: str) -> list[Identity]:
        """Return the holder processes of a lease, by the tag that they carry."""
        return tagged("CHAOSGPU_LEASE", str(self.home / "leases" / lease))

    def keepers(self, lease: str) -> list[Identity]:
        """Return the keeper processes of a lease."""
        wanted = [b"keep", os.fsencode(str(self.home / "leases" / lease))]
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            who = identity(int(path.parent.name)) if words[3:5] == wanted else None
            if who is not None and alive(who):
                found.append(who)
        return found


def until(true: Callable[[], bool], within_s: float, every_s: float = 0.02) -> float | None:
    """Wait until it is true; return the seconds that took, None where it did not come true in time."""
    start = time.monotonic()
    while not true():
        if time.monotonic() - start > within_s:
            return None
        time.sleep(every_s)
    return time.monotonic() - start
