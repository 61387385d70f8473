# SPDX-License-Identifier: Apache-2.0
"""A service that is killed on its GPU is brought back by its systemd unit: the real Triton, and one with Restart=."""

import random
import time

import pytest

from bench.hosts import Bench, Host
from bench.leases import state
from bench.network import answers
from bench.waiting import wait_until
from chaosgpu.triton import api, canary

_DROP_IN = "/run/systemd/system/triton.service.d"
# What uses a GPU as a process of its own: a context and some memory.
_USER = """
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
context, memory = ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
assert cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(1 << 30)) == 0
time.sleep(3600)
"""


def _kill(host: Host, lease: str, unit: str, ttl_s: float) -> list[int]:
    """Kill what root runs on the first GPU; the unit brings it back."""
    uuid = host.gpus().show()[0]["identity"]["uuid"]
    params = {"gpu": uuid, "user": "root", "restored_by": {"unit": unit}, "back_within_s": 60}
    order = {"lease": lease, "fault": "gpu.process.kill", "params": params, "ttl_s": ttl_s, "max_duration_s": ttl_s}
    answer = host.agent("apply", {**order, "run": "r"}, timeout_s=60)
    assert answer.get("state") == "active", answer
    killed: list[int] = answer["observed"]["killed_pids"]
    assert killed
    return killed


def _shown(host: Host, unit: str, name: str) -> str:
    return host.run(["systemctl", "show", "--value", f"--property={name}", unit], check=True).stdout.strip()


@pytest.mark.triton
@pytest.mark.parametrize(("restart", "ended_by"), [("no", "deadline"), ("always", "undo")])
def test_the_real_triton_whose_gpu_process_is_killed_is_restarted_by_its_unit(
    fleet: Bench, host: Host, restart: str, ended_by: str
) -> None:
    """The server outlives its stub, so Restart= never comes: it is the undo that restarts the unit."""
    url = f"http://{host.address}:8000"
    setting = f"mkdir -p {_DROP_IN} && printf '[Service]\\nRestart={restart}\\n' > {_DROP_IN}/restart.conf"
    host.run(["sh", "-c", f"{setting} && systemctl daemon-reload && systemctl start triton"], check=True)
    try:
        wait_until(lambda: answers(fleet.plan, host.plan, 8000, 0.3), 60)
        with fleet.inside():
            wait_until(lambda: api.health(url, "/v2/models/chat/ready", 1.0), 60)
            golden = canary.learn(url, "chat", 5, 5.0)
            assert canary.ask(url, golden, 5.0, random.Random(1)).right
            before = _shown(host, "triton", "InvocationID")
            lease = f"triton-{restart}"
            _kill(host, lease, "triton.service", 5.0 if ended_by == "deadline" else 60.0)
            if ended_by == "undo":
                assert not canary.ask(url, golden, 2.0, random.Random(1)).right  # the control: it is really broken
                assert _shown(host, "triton", "InvocationID") == before
                [undone] = host.agent("undo", {"lease": lease}, timeout_s=90)["leases"]
                assert undone["state"] == "clean", undone
            wait_until(lambda: state(host, lease)["state"] == "clean", 60)
            assert state(host, lease)["ended_by"] == ended_by
            assert state(host, lease)["restored"]["missing"] == []
            assert _shown(host, "triton", "InvocationID") != before
            wait_until(lambda: api.health(url, "/v2/models/chat/ready", 1.0), 60)
            wait_until(lambda: canary.ask(url, golden, 5.0, random.Random(1)).right, 30)
    finally:
        host.run(["systemctl", "stop", "triton"])
        host.run(["sh", "-c", f"rm -r {_DROP_IN}; systemctl daemon-reload"], check=True)


@pytest.mark.parametrize("restart", ["no", "always"])
def test_a_unit_that_restarts_by_itself_is_not_restarted_once_more(host: Host, restart: str) -> None:
    properties = [f"--property=Restart={restart}", "--property=RestartSec=100ms"]
    unit = ["systemd-run", "--quiet", "--unit=worker", "--remain-after-exit", *properties]
    script = 'printf \'%s\' "$1" > /root/worker.py; shift; exec "$@"'
    host.run(["sh", "-c", script, "sh", _USER, *unit, "python3", "/root/worker.py"], check=True)
    try:
        wait_until(lambda: host.gpus().show()[0]["processes"])
        before = _shown(host, "worker", "InvocationID")
        _kill(host, f"worker-{restart}", "worker.service", 60.0)
        if restart == "always":
            wait_until(lambda: host.gpus().show()[0]["processes"])
        else:
            time.sleep(0.5)
            assert host.gpus().show()[0]["processes"] == []  # the control: nobody else brings it back
        meanwhile = _shown(host, "worker", "InvocationID")
        [undone] = host.agent("undo", {"lease": f"worker-{restart}"}, timeout_s=90)["leases"]
        assert undone["state"] == "clean", undone
        assert host.gpus().show()[0]["processes"] != []
        after = _shown(host, "worker", "InvocationID")
        assert (meanwhile != before, after != meanwhile) == (restart == "always", restart == "no")
    finally:
        host.run(["systemctl", "stop", "worker"])
        host.run(["systemctl", "reset-failed", "worker"])
