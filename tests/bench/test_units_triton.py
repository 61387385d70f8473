# SPDX-License-Identifier: Apache-2.0
"""Each fault of a unit on the real Triton: in force as seen from outside, put back, and the same service as before."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from bench.hosts import Bench, Host
from bench.network import answers
from bench.unit_cases import CASES, Case, Seen
from bench.units import GROUP, apply, drop_ins, shown, undo
from bench.waiting import wait_until
from chaosgpu.errors import ChaosGpuError
from chaosgpu.triton import api, canary
from chaosgpu.triton.golden import Golden

UNIT = "triton.service"
UP_S = 60.0
SETTINGS = ("ActiveState", "FreezerState", "DevicePolicy", "DropInPaths", "Environment")

pytestmark = pytest.mark.triton


@dataclass
class Served:
    """A Triton that serves, and how it is looked at through no agent."""

    fleet: Bench
    host: Host
    golden: Golden | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host.address}:8000"

    def ready(self) -> bool:
        if not answers(self.fleet.plan, self.host.plan, 8000, 1.0):
            return False
        with self.fleet.inside(), suppress(ChaosGpuError):
            return api.health(self.url, "/v2/models/chat/ready", 1.0)
        return False

    def right(self, within_s: float = 5.0) -> bool:
        assert self.golden is not None
        with self.fleet.inside(), suppress(ChaosGpuError):
            return canary.ask(self.url, self.golden, within_s, random.Random(1)).right
        return False

    def look(self) -> Seen:
        return Seen(
            listens=answers(self.fleet.plan, self.host.plan, 8000, 1.0),
            answers=self.right(2.0),
            opens="yes" in self._in_the_unit("head -c1 /dev/nvidia0 >/dev/null && echo yes"),
            on_gpu=bool(self.host.gpus().show()[0]["processes"]),
        )

    def _in_the_unit(self, script: str) -> str:
        joined = f"echo $$ > {GROUP}/{UNIT}/cgroup.procs && {script}"
        return self.host.run(["timeout", "-s", "KILL", "2", "sh", "-c", joined]).stdout  # a frozen unit freezes it


@pytest.fixture(scope="module")
def serving(fleet: Bench) -> Iterator[Served]:
    served = Served(fleet, fleet.hosts[0])
    served.host.run(["systemctl", "start", UNIT], check=True)
    wait_until(served.ready, UP_S)
    with fleet.inside():
        served.golden = canary.learn(served.url, "chat", 5, 10.0)
    yield served
    served.host.agent("undo", {"all": True}, timeout_s=60)
    served.host.run(["systemctl", "stop", UNIT], check=True)


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_it_is_seen_from_outside_and_the_real_triton_is_as_before_afterwards(case: Case, serving: Served) -> None:
    host = serving.host
    wait_until(serving.ready, UP_S)
    wait_until(serving.right, UP_S)
    before = shown(host, UNIT, *SETTINGS)
    answer = apply(host, case.fault, UNIT, **case.params)
    try:
        seen = serving.look()
        assert case.in_force(seen), seen
        if case.fault == "unit.gpu.deny":
            # The simulated driver opens the node for each allocation, so the model feels it before its next start.
            assert not serving.right(2.0)
        [listed] = host.agent("list", {"verify": True}, timeout_s=60)["leases"]
        assert (listed["state"], listed["verified"]) == ("active", True), listed
    finally:
        line = undo(host, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    wait_until(serving.ready, UP_S)
    wait_until(serving.right, UP_S)
    assert serving.look() == Seen(listens=True, answers=True, opens=True, on_gpu=True)
    assert undo(host, answer)["state"] == "clean"
    assert shown(host, UNIT, *SETTINGS) == before
    assert drop_ins(host) == []


def test_a_node_that_was_open_before_it_was_denied_can_still_be_read(serving: Served) -> None:
    host = serving.host
    wait_until(serving.ready, UP_S)
    reads = "exec 3</dev/nvidia0; while head -c1 <&3 >/dev/null; do date +%s%N > /run/reads; sleep 0.1; done"
    reader = host.start(["sh", "-c", f"echo $$ > {GROUP}/{UNIT}/cgroup.procs; {reads}"])
    try:
        wait_until(lambda: host.run(["test", "-e", "/run/reads"]).returncode == 0)
        answer = apply(host, "unit.gpu.deny", UNIT)
        assert not serving.look().opens
        last = host.run(["cat", "/run/reads"], check=True).stdout
        wait_until(lambda: host.run(["cat", "/run/reads"], check=True).stdout not in {last, ""})
        assert undo(host, answer)["state"] == "clean"
    finally:
        host.run(["pkill", "-f", "run/reads"])
        reader.communicate(timeout=20)


def test_a_killed_triton_comes_back_by_its_own_restart_and_the_undo_starts_nothing(serving: Served) -> None:
    host = serving.host
    wait_until(serving.ready, UP_S)
    restarts = int(shown(host, UNIT, "NRestarts")[0])
    answer = apply(host, "unit.kill", UNIT)
    assert answer["observed"]["restart"] == "on-failure"
    wait_until(serving.right, UP_S)
    by_itself = shown(host, UNIT, "NRestarts", "InvocationID")
    assert by_itself[0] == str(restarts + 1)
    line = undo(host, answer)
    assert (line["state"], line["left_alone"], line["restored"]["restarts"]) == ("clean", [], restarts + 1), line
    assert shown(host, UNIT, "NRestarts", "InvocationID") == by_itself


def test_a_frozen_triton_takes_connections_and_a_daemon_reload_does_not_thaw_it(serving: Served) -> None:
    host = serving.host
    wait_until(serving.right, UP_S)
    answer = apply(host, "unit.freeze", UNIT)
    for _ in range(3):
        host.run(["systemctl", "daemon-reload"], check=True)
    seen = serving.look()
    assert seen.listens
    assert not seen.answers
    assert undo(host, answer)["state"] == "clean"
    wait_until(serving.right, UP_S)
