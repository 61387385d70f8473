# SPDX-License-Identifier: Apache-2.0
"""Every guard with its input missing, stale, malformed, raising and not coming: all refuse, and nothing is touched.

One table: a guard, a state, what brings it about, and a part of the sentence. A pair that cannot be is
named in NEVER with the reason. `benchmarks/guards.py` counts what is here.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.approvals import signatures
from chaosgpu.agent.approvals.statement import write as write_statement
from chaosgpu.agent.claims import Claims
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.sim.instance import Instance, create
from support.agent_faults import FAULTS
from support.agent_host import FILE, POLICY, AgentHost

STATES = ("missing", "stale", "malformed", "raising", "timing out")
DRIVER_WITHIN_S = 0.5


@dataclass
class Case:
    """One host of a test, and what the next `apply` is asked for and made of."""

    host: AgentHost
    until: ExitStack
    order: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    gpus: Instance | None = None

    def apply(self) -> dict[str, Any]:
        request = {"protocol": 1, **self.host.order(**self.order)}
        return self.host.tell("apply", request, **self.parts)

    def policy(self) -> Path:
        return self.host.home / "policy.json"

    def claim(self) -> Path:
        return Path(Claims(str(self.host.home.parent), SystemClock()).path(f"file:{self.host.file}"))

    def lock(self, path: Path) -> None:
        """Hold a kernel lock until the test is over."""
        file = self.until.enter_context(path.open("a"))
        fcntl.flock(file, fcntl.LOCK_EX)

    def program(self, script: str) -> None:
        """Have the keeper be this program."""
        path = self.host.folder / "keeper"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.parts["command"] = (str(path),)

    def on_gpus(self, **changes: Any) -> Instance:
        """Ask for a fault of a simulated GPU."""
        gpus = self.gpus = create(self.host.folder / "gpus", "h100", 1, seed=1, simulated_root=True)
        gpus.set(0, **changes)
        self.host.policy({**POLICY, "permit": ["gpu.*", "test.*"]})
        self.parts["registry"] = lambda: {**FAULTS, **REGISTRY}
        self.parts["new_driver"] = self._driver
        self.order = {"fault": "gpu.power.cap", "params": {"gpu": self.uuid(), "watts": 300}}
        return gpus

    def _driver(self, *_: object) -> ForkedDriver:
        assert self.gpus is not None
        environment = {**self.gpus.environment(), "CHAOSGPU_AGENT_HOME": str(self.host.home)}
        return ForkedDriver(environment, deadline_s=DRIVER_WITHIN_S, start_extra_s=5.0)

    def uuid(self) -> str:
        assert self.gpus is not None
        return str(self.gpus.show()[0]["identity"]["uuid"])


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    host = AgentHost(tmp_path)
    with ExitStack() as until:
        yield Case(host, until)
    host.close()


def in_place_of(path: Path, kind: str) -> None:
    """Put a folder or a pipe that nobody writes to where a file is read."""
    path.unlink(missing_ok=True)
    path.mkdir() if kind == "folder" else os.mkfifo(path)


def used_up(case: Case) -> None:
    case.host.apply()
    case.host.undo()


def damaged_lease(case: Case) -> None:
    used_up(case)
    state = case.host.home / "leases/l1/state"
    state.write_bytes(b"x" * state.stat().st_size)


def lost_state(case: Case) -> None:
    case.order["lease"] = "../elsewhere"


def held_by(content: str) -> Callable[[Case], None]:
    return lambda case: write(case.claim(), content)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def claimed_and_lost(case: Case) -> None:
    """Leave a claim whose lease has no record any more."""
    case.host.apply(lease="other")
    for keeper in case.host.keepers():
        case.host.kill(keeper)
    case.host.file.write_text("well")
    (case.host.home / "leases/other/state").unlink()


def held_still(case: Case) -> None:
    case.host.apply(lease="other", value="well again")
    case.host.file.write_text("well")


def gpu_stop(case: Case) -> None:
    case.on_gpus(temperature_celsius=50)
    case.order = {"stop_when": {"gpu_temperature_above": {"celsius": 80}}}


def hangs(case: Case, function: str) -> None:
    assert case.gpus is not None
    case.gpus.inject("hang", function=function, hang_s=60)


def gpu_stop_hangs(case: Case) -> None:
    gpu_stop(case)
    hangs(case, "nvmlDeviceGetTemperature")


def gpu_stop_raises(case: Case) -> None:
    gpu_stop(case)
    assert case.gpus is not None
    case.gpus.inject("return", 0, function="nvmlDeviceGetTemperature", code=999)


def gpu_named(name: str) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.on_gpus()
        case.order["params"] = {"gpu": name, "watts": 300}

    return change


def gpu_hangs(case: Case) -> None:
    case.on_gpus()
    hangs(case, "nvmlDeviceGetHandleByUUID")


def gpu_raises(case: Case) -> None:
    case.on_gpus().inject("driver_unloaded")


def no_library(case: Case) -> None:
    case.on_gpus()
    nothing = {"LD_LIBRARY_PATH": "/nonexistent", "CHAOSGPU_AGENT_HOME": str(case.host.home)}
    case.parts["new_driver"] = lambda *_: ForkedDriver(nothing)


def library_mismatch(case: Case) -> None:
    case.on_gpus().inject("version_mismatch")


def ill(case: Case) -> None:
    case.on_gpus(recovery_action=2)


def lost_gpu(case: Case) -> None:
    case.on_gpus().inject("lost", 0)


def health_raises(case: Case) -> None:
    case.on_gpus().inject("return", 0, function="nvmlDeviceGetRemappedRows", code=999)


def health_hangs(case: Case) -> None:
    case.on_gpus()
    hangs(case, "nvmlDeviceGetRemappedRows")


type Change = Callable[[Case], object]


def ordered(**order: object) -> Change:
    return lambda case: case.order.update(order)


def with_policy(**changes: object) -> Change:
    return lambda case: case.host.policy({**POLICY, **changes})


def demanding(case: Case, approval: dict[str, Any] | None = None, **changes: Any) -> None:
    """Have the host demand an approval, and ask with one that nobody on it could have signed."""
    signers = case.host.folder / "allowed_signers"
    if not signers.exists():
        signers.write_text("bob@lab ssh-ed25519 AAAA\n")
    case.host.policy({**POLICY, "approvals": {"required": True, "allowed_signers": str(signers), "names": ["here"]}})
    said = {
        "plan_sha256": "0" * 64, "drill": "leak", "title": "a leak", "operator": "alice@lab", "hosts": ["here"],
        "blast_radius": 1, "faults": [FILE], "longest_fault_s": 600, "not_before": "2000-01-01T00:00:00.000Z",
        "not_after": "2999-01-01T00:00:00.000Z", **changes,
    }  # fmt: skip
    signed = {"statement": write_statement(said).decode(), "signatures": [{"by": "bob@lab", "signature": "x"}]}
    case.order["approval"] = signed if approval is None else approval


def signers_in_place_of(case: Case, kind: str) -> None:
    signers = case.host.folder / "allowed_signers"
    in_place_of(signers, kind)
    demanding(case)


def ssh_keygen(case: Case, script: str | None) -> None:
    """Have this host's ssh-keygen be another program, or none."""
    path = case.host.folder / "ssh-keygen"
    if script is not None:
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    patch = case.until.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(signatures, "_PLACES", (str(path),))
    patch.setattr(signatures, "_WITHIN_S", 0.3)
    demanding(case)


GUARDS: dict[str, dict[str, tuple[Change, str]]] = {
    "the host's policy": {
        "missing": (lambda case: case.policy().unlink(), "This host has no policy at"),
        "stale": (with_policy(version=0), "version must be between 1 and 1"),
        "malformed": (lambda case: case.host.policy("{"), "cannot be read, so the agent only reads"),
        "raising": (lambda case: in_place_of(case.policy(), "folder"), "cannot be read, so the agent only reads"),
        "timing out": (lambda case: in_place_of(case.policy(), "pipe"), "cannot be read, so the agent only reads"),
    },
    "the policy's approvals": {
        "missing": (with_policy(approvals={"required": True}), "does not say whose signatures count"),
        "stale": (with_policy(approvals={"required": True, "allowed_signers": "/old"}), "No such file or directory"),
        "malformed": (with_policy(approvals={"required": "no"}), "required must be true or false"),
        "raising": (lambda case: signers_in_place_of(case, "folder"), "Is a directory"),
        "timing out": (lambda case: signers_in_place_of(case, "pipe"), "has 0 that count here"),
    },
    "the drill's approval": {
        "missing": (lambda case: demanding(case, approval={}), "demands an approval, and none came with the fault"),
        "stale": (lambda case: demanding(case, not_after="2001-01-01T00:00:00.000Z"), "it counts from 2000-01-01"),
        "malformed": (lambda case: demanding(case, approval={"statement": "{", "signatures": []}), "is not JSON"),
        "raising": (lambda case: ssh_keygen(case, None), "has no ssh-keygen, so no approval can be checked"),
        "timing out": (lambda case: ssh_keygen(case, "exec sleep 30"), "did not answer within 0.3 s, and was ended"),
    },
    "what the policy protects": {
        "malformed": (with_policy(protected={"gpus": ["0"]}), "a protected GPU is named by its UUID"),
        "stale": (with_policy(protected={"gpu": []}), "protected has no parameter gpu"),
    },
    "the kill switch": {
        "stale": (lambda case: write(case.host.home / "HALT", '{"by": "ann", "at": "1999"}'), "was halted by ann"),
        "malformed": (lambda case: write(case.host.home / "HALT", "\0{"), "was halted by the file"),
        "raising": (lambda case: in_place_of(case.host.home / "HALT", "folder"), "is there and cannot be read"),
        "timing out": (lambda case: in_place_of(case.host.home / "HALT", "pipe"), "was halted by the file"),
    },
    "claims": {
        "missing": (claimed_and_lost, "is held by lease other"),
        "stale": (held_still, "is held by lease other"),
        "malformed": (held_by("{"), "is held by lease unknown of (unread"),
        "raising": (lambda case: case.claim().mkdir(), "is held by lease unknown of (unread"),
        "timing out": (lambda case: case.lock(case.host.home.parent / "chaosgpu-claims.lock"), "are locked by another"),
    },
    "the lease's own record": {
        "stale": (used_up, "is never applied again"),
        "malformed": (damaged_lease, "exists with other parameters"),
        "raising": (lost_state, "lease"),
    },
    "the deadline": {
        "missing": (lambda case: case.parts.update(command=("/no/such/program",)), "did not start"),
        "stale": (lambda case: case.program("echo armed"), "did not start"),
        "malformed": (lambda case: case.program("echo '{'"), "did not start"),
        "raising": (lambda case: case.program("exit 1"), "did not start"),
        "timing out": (lambda case: case.program("exec sleep 30"), "did not start within 10 s"),
    },
    "the order": {
        "missing": (ordered(ttl_s=None), "ttl_s must be a number"),
        "stale": (ordered(inject_at=1000.0), "by this host's clock"),
        "malformed": (ordered(ttl_s="long"), "ttl_s must be a number"),
    },
    "the fault's own check": {
        "missing": (lambda case: case.host.file.unlink(), "There is no file"),
        "stale": (ordered(value="well"), "holds well already"),
        "malformed": (ordered(value=7), "value must be a text"),
        "raising": (ordered(breaks="check:mistake"), "a mistake in the fault"),
        "timing out": (ordered(breaks="check:hang"), "did not come back"),
    },
    "what is captured before": {
        "raising": (ordered(breaks="capture:fail"), "driver says no"),
        "timing out": (ordered(breaks="capture:hang"), "did not come back"),
    },
    "stop conditions": {
        "missing": (ordered(stop_when={"file_exists": {}}), "path must be a text"),
        "stale": (ordered(stop_when={"file_exists": {"path": "/proc/self/stat"}}), "met before anything was touched"),
        "malformed": (ordered(stop_when={"any": {}}), "must be a list with at least one"),
        "raising": (gpu_stop_raises, "A stop condition cannot be read"),
        "timing out": (gpu_stop_hangs, "A stop condition cannot be read"),
    },
    "which GPU is meant": {
        "missing": (gpu_named("GPU-5c0ffee0-0000-0000-0000-000000000000"), "There is no GPU"),
        "stale": (gpu_named("0"), "indices change"),
        "malformed": (gpu_named("the first"), "is neither a GPU's UUID"),
        "raising": (gpu_raises, "not loaded"),
        "timing out": (gpu_hangs, "did not come back within"),
    },
    "which NVIDIA library answers": {
        "missing": (no_library, "There is no libnvidia-ml.so.1 here"),
        "stale": (library_mismatch, "have different versions"),
    },
    "the GPU's health": {
        "missing": (lost_gpu, "fallen off the bus"),
        "stale": (ill, "recovery action"),
        "raising": (health_raises, "999"),
        "timing out": (health_hangs, "did not come back within"),
    },
}
# Pairs that cannot be, and why.
NEVER: dict[tuple[str, str], str] = {
    ("what the policy protects", "missing"): "nothing protected is a policy, too",
    ("what the policy protects", "raising"): "a part of the policy, which is read whole",
    ("what the policy protects", "timing out"): "a part of the policy, which is read whole",
    ("the kill switch", "missing"): "a switch that is not there is off: that is what it says",
    ("the lease's own record", "missing"): "a new lease has none",
    ("the lease's own record", "timing out"): "reading it takes no lock",
    ("the order", "raising"): "it is one document, read before anything",
    ("the order", "timing out"): "the one who asks waits for us, and not we for him",
    ("what is captured before", "missing"): "the fault's own check has seen it",
    ("what is captured before", "stale"): "it is read at this moment",
    ("what is captured before", "malformed"): "it is our own reading",
    ("which NVIDIA library answers", "malformed"): "a library is loaded or not",
    ("which NVIDIA library answers", "raising"): "as a GPU that raises",
    ("which NVIDIA library answers", "timing out"): "as a GPU that does not come back",
    ("the GPU's health", "malformed"): "it is our own reading of numbers",
}
PAIRS = [(guard, state) for guard, states in GUARDS.items() for state in states]


@pytest.mark.parametrize(("guard", "state"), PAIRS)
def test_the_guard_refuses_with_a_sentence_and_nothing_is_touched(case: Case, guard: str, state: str) -> None:
    change, says = GUARDS[guard][state]
    change(case)
    was = case.host.file.read_text() if case.host.file.exists() else None
    watts = case.gpus.show()[0]["settings"] if case.gpus else None
    error = case.apply()["error"]
    assert says in error["message"], error
    assert error["message"].rstrip().endswith((".", ")"))
    assert (case.host.file.read_text() if case.host.file.exists() else None) == was
    assert (case.gpus.show()[0]["settings"] if case.gpus else None) == watts


@pytest.mark.parametrize("on_gpu", [False, True])
def test_control_with_nothing_wrong_the_same_faults_go_in(case: Case, on_gpu: bool) -> None:
    if on_gpu:
        case.on_gpus(temperature_celsius=50)
    assert case.apply().get("state") == "active"


def test_every_guard_is_tried_in_every_state_that_can_be() -> None:
    everything = {(guard, state) for guard in GUARDS for state in STATES}
    assert set(PAIRS) | set(NEVER) == everything
    assert not set(PAIRS) & set(NEVER)
