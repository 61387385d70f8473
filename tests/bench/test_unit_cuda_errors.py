# SPDX-License-Identifier: Apache-2.0
"""CUDA errors in one unit: its own calls fail, nobody else's do, and whoever is dead, they end."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.cuda_units import READY, Served, beside, codes, drop_ins, loaded, preload, serving, sh, unit
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import kill_keeper, state, stop_timer
from bench.waiting import wait_until
from chaosgpu.agent.shim.library import Library

_HOLDS_NOTHING = "import time\ntime.sleep(3600)\n"
_PRELOADED = "/lib/x86_64-linux-gnu/libdl.so.2"


def _order(lease: str, unit_name: str, ttl_s: float = 120, **params: Any) -> dict[str, Any]:
    params = {"unit": unit_name, "code": 700, "calls": ["alloc"], "settle_s": 0, **params}
    times = {"ttl_s": ttl_s, "max_duration_s": ttl_s}
    return {"lease": lease, "fault": "unit.cuda.errors", "params": params, "run": "r", **times}


def _apply(host: Host, *words: Any, **params: Any) -> dict[str, Any]:
    return host.agent("apply", _order(*words, **params), timeout_s=90)


def _fails(host: Host, lease: str, library: dict[str, Any], ttl_s: float = 120) -> None:
    applied = _apply(host, lease, "cuda-user.service", ttl_s, library=library)
    assert applied.get("state") == "active", applied
    wait_until(lambda: set(codes(host, "cuda-user")) == {"700"}, 20)


def _is_plain(host: Host) -> None:
    """See the small unit up without the library, its calls going through, and nothing of ours left."""
    wait_until(lambda: set(codes(host, "cuda-user")) == {"0"}, 20)
    assert (loaded(host, "cuda-user"), drop_ins(host)) == (False, "")


@pytest.fixture
def library(host: Host, shim: Library) -> dict[str, Any]:
    return preload(host, shim)


@contextmanager
def _traffic(triton: Served) -> Iterator[None]:
    """Ask all the time, as users do."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            triton.right()
            time.sleep(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join(30)


@pytest.mark.triton
def test_a_real_tritons_calls_fail_while_it_says_ready_and_another_unit_on_the_gpu_sees_nothing(
    fleet: Bench, host: Host, library: dict[str, Any]
) -> None:
    with serving(fleet, host) as triton, beside(host):
        assert triton.right()
        with _traffic(triton):
            applied = _apply(host, "triton", "triton.service", ready_url=READY, library=library, traffic_within_s=30)
        assert applied.get("state") == "active", applied
        observed = applied["observed"]
        assert (observed["error"], observed["failed_calls"]["alloc"] > 0) == ("CUDA_ERROR_ILLEGAL_ADDRESS", True)
        assert (triton.ready(), triton.right()) == (True, False)
        assert set(codes(host, "cuda-user")) == {"0"}
        assert not loaded(host, "cuda-user")
        assert host.gpus().show()[0]["faults"]["lost"] == 0
        [listed] = host.agent("list", {"verify": True})["leases"]
        assert listed["verified"] is True
        [undone] = host.agent("undo", {"lease": "triton"}, timeout_s=60)["leases"]
        assert (undone["state"], undone["left_alone"]) == ("clean", [])
        assert (triton.ready(), triton.right()) == (True, True)
        assert (loaded(host, "triton"), drop_ins(host)) == (False, "")


def test_the_deadline_ends_it_with_the_network_cut(host: Host, library: dict[str, Any]) -> None:
    with beside(host):
        _fails(host, "ends", library)
        host.agent("renew", {"leases": ["ends"], "ttl_s": 1})
        host.cut_network()
        host.restore_network()
        wait_until(lambda: state(host, "ends")["state"] == "clean", 60)
        assert state(host, "ends")["ended_by"] == "deadline"
        _is_plain(host)


def test_with_everybody_dead_the_library_itself_lets_calls_through_at_the_hard_end(
    host: Host, library: dict[str, Any]
) -> None:
    with beside(host, extra="User=ops"):
        _fails(host, "alone", library, 20)
        kill_keeper(host, "alone")
        stop_timer(host, "alone")
        wait_until(lambda: set(codes(host, "cuda-user")) == {"0"}, 60)
        assert state(host, "alone")["state"] == "active"  # the control: nobody has undone anything
        assert "chaosgpu-cuda-errors-alone" in drop_ins(host)
        host.agent("sweep", timeout_s=60)
        assert state(host, "alone")["state"] == "clean"
        _is_plain(host)


def test_an_agent_that_dies_while_it_applies_leaves_nothing(host: Host, library: dict[str, Any]) -> None:
    with beside(host):
        asked = host.start([AGENT, "apply"])
        assert asked.stdin is not None
        order = _order("dies", "cuda-user.service", settle_s=30, library=library)
        asked.stdin.write(json.dumps({"protocol": 1, **order}).encode())
        asked.stdin.close()
        asked.stdin = None
        wait_until(lambda: loaded(host, "cuda-user") or asked.poll() is not None, 60)
        assert asked.poll() is None, asked.communicate()
        host.run(["pkill", "--signal", "KILL", "-f", "agent.pyz apply"])
        asked.communicate(timeout=20)
        wait_until(lambda: state(host, "dies")["state"] == "clean", 60)
        _is_plain(host)


def test_after_a_reboot_the_unit_is_plain_and_the_lease_is_reverted(host: Host, library: dict[str, Any]) -> None:
    with beside(host):
        _fails(host, "boot", library)
        host.reboot()
        host.agent("sweep", timeout_s=60)
        assert state(host, "boot")["state"] == "clean"
        _is_plain(host)


def test_without_a_compiler_it_says_what_to_install_and_touches_nothing(host: Host) -> None:
    with beside(host):
        refused = _apply(host, "none", "cuda-user.service")["error"]
        assert refused["kind"] == "refused"
        assert "no C compiler on this host" in refused["message"]
        assert "apt-get install gcc" in refused["message"]
        _is_plain(host)


@pytest.mark.parametrize(
    ("unit_of", "kind", "said"),
    [
        ({"extra": f"Environment=LD_PRELOAD={_PRELOADED}"}, "refused", "has LD_PRELOAD set already"),
        ({"before": f"/usr/bin/env LD_PRELOAD={_PRELOADED} "}, "refused", "has LD_PRELOAD set already"),
        ({"before": "/opt/others/", "extra": "User=ops"}, "refused", "more rights than who started them"),
        ({"before": "/usr/bin/env -u LD_PRELOAD "}, "unverified", "clears LD_PRELOAD"),
    ],
)
def test_a_unit_that_would_not_have_the_library_is_refused_or_unverified(
    unit_of: dict[str, str], kind: str, said: str, host: Host, library: dict[str, Any]
) -> None:
    sh(
        host,
        "mkdir -p /opt/others/usr/bin; install -m 4755 $(readlink -f /usr/bin/python3) /opt/others/usr/bin/python3",
    )
    with beside(host, **unit_of):
        refused = _apply(host, f"not-{abs(hash(said + str(unit_of)))}", "cuda-user.service", library=library)["error"]
        assert (refused["kind"], said in refused["message"]) == (kind, True), refused
        _is_plain(host)


def test_a_unit_without_cuda_and_one_without_traffic_prove_nothing(host: Host, library: dict[str, Any]) -> None:
    with unit(host, "idle", _HOLDS_NOTHING, "ExecStart=/usr/bin/python3 /opt/idle.py"):
        assert _apply(host, "idle", "idle.service", library=library)["error"]["kind"] == "no_effect"
    with beside(host):
        params = {"calls": ["launch"], "traffic_within_s": 1, "library": library}
        unverified = _apply(host, "quiet", "cuda-user.service", **params)["error"]
        assert (unverified["kind"], "It needs traffic" in unverified["message"]) == ("unverified", True), unverified
        _is_plain(host)
