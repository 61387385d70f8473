# SPDX-License-Identifier: Apache-2.0
"""A server that takes its KV cache at start gets a smaller one, and its own one back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.cuda_units import BLOCKS, SHARE, drop_ins, serving, sh, unit
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import state
from bench.waiting import wait_until

_LONG = 1000  # tokens: 63 blocks
# Tells its blocks as vLLM does, in its log; the last --share counts.
_SERVER = """\
import sys, time
share = float([word for word in sys.argv if word.startswith("--share=")][-1].partition("=")[2])
print(f"# GPU blocks: {int(share * 10000):,}", flush=True)
time.sleep(3600)
"""
_LOG = {"log": True, "pattern": r"^# GPU blocks: ([\d,]+)$"}


def _order(lease: str, name: str, ttl_s: float = 120, **params: Any) -> dict[str, Any]:
    times = {"ttl_s": ttl_s, "max_duration_s": ttl_s}
    return {"lease": lease, "fault": "unit.kv_cache.shrink", "params": {"unit": name, **params}, "run": "r", **times}


def _smaller(lease: str, value: str) -> dict[str, Any]:
    return _order(lease, "triton.service", blocks=BLOCKS, environment={"name": SHARE, "value": value})


def _shrink(host: Host, lease: str, ttl_s: float = 120, share: str = "0.4") -> dict[str, Any]:
    order = _order(lease, "kv-server.service", ttl_s, blocks=_LOG, arguments=[f"--share={share}"])
    return host.agent("apply", order, timeout_s=60)


def _blocks(host: Host) -> str:
    """Return what its log tells of its present start."""
    return sh(host, "journalctl -q -o cat _SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID kv-server)").strip()


@pytest.fixture
def server(host: Host) -> Iterator[Host]:
    with unit(host, "kv-server", _SERVER, 'ExecStart=/usr/bin/python3 /opt/kv-server.py "a b" 50%% $$5 --share=0.9'):
        wait_until(lambda: _blocks(host) == "# GPU blocks: 9,000")
        yield host


@pytest.mark.triton
def test_a_smaller_share_is_read_back_long_prompts_starve_and_all_comes_back(fleet: Bench, host: Host) -> None:
    with serving(fleet, host, 0.16) as triton:
        before = triton.blocks()
        assert (triton.right(), triton.answers(_LONG)) == (True, True)
        same = host.agent("apply", _smaller("same", "0.16"))["error"]
        assert (same["kind"], drop_ins(host)) == ("no_effect", "")
        # The control: memory that is taken after the start shrinks nothing.
        uuid = host.gpus().show()[0]["identity"]["uuid"]
        fill = {"fault": "gpu.memory.fill", "params": {"gpu": uuid, "used_percent": 90}, "lease": "fill"}
        host.agent("apply", {**fill, "ttl_s": 60, "max_duration_s": 60, "run": "r"})
        assert (triton.blocks(), triton.answers(_LONG)) == (before, True)
        host.agent("undo", {"lease": "fill"})

        applied = host.agent("apply", _smaller("half", "0.08"), timeout_s=60)
        assert applied["state"] == "active", applied
        assert applied["observed"]["blocks"] == triton.blocks() == pytest.approx(before / 2, rel=0.02)
        assert (triton.ready(), triton.right(), triton.answers(_LONG)) == (True, True, False)
        [listed] = host.agent("list", {"verify": True})["leases"]
        assert listed["verified"] is True
        [undone] = host.agent("undo", {"lease": "half"}, timeout_s=60)["leases"]
        assert (undone["state"], undone["left_alone"]) == ("clean", [])
        assert (triton.blocks(), triton.answers(_LONG), drop_ins(host)) == (before, True, "")


def test_an_appended_argument_does_as_well_and_the_deadline_takes_it_away(server: Host) -> None:
    applied = _shrink(server, "ends")
    assert applied["observed"]["blocks"] == 4000, applied
    assert applied["observed"]["blocks_before"] == 9000
    running = sh(server, "tr '\\0' '|' < /proc/$(systemctl show -P MainPID kv-server)/cmdline")
    assert running == "/usr/bin/python3|/opt/kv-server.py|a b|50%|$5|--share=0.9|--share=0.4|"
    server.agent("renew", {"leases": ["ends"], "ttl_s": 1})
    server.cut_network()
    server.restore_network()
    wait_until(lambda: state(server, "ends")["state"] == "clean", 60)
    assert state(server, "ends")["ended_by"] == "deadline"
    assert (_blocks(server), drop_ins(server)) == ("# GPU blocks: 9,000", "")


def test_a_share_that_does_not_make_it_smaller_is_unverified_and_undone(server: Host) -> None:
    refused = _shrink(server, "larger", share="0.95")["error"]
    assert (refused["kind"], "and had 9000" in refused["message"]) == ("unverified", True), refused
    assert (_blocks(server), drop_ins(server)) == ("# GPU blocks: 9,000", "")


def test_an_agent_that_dies_while_it_applies_leaves_nothing(server: Host) -> None:
    asked = server.start([AGENT, "apply"])
    assert asked.stdin is not None
    before = {"log": True, "pattern": "^# GPU blocks: (9,000)$"}  # so it waits for another number, in vain
    order = _order("dies", "kv-server.service", blocks=before, arguments=["--share=0.4"])
    asked.stdin.write(json.dumps({"protocol": 1, **order}).encode())
    asked.stdin.close()
    asked.stdin = None
    wait_until(lambda: drop_ins(server), 60)
    server.run(["pkill", "--signal", "KILL", "-f", "agent.pyz apply"])
    asked.communicate(timeout=20)
    wait_until(lambda: state(server, "dies")["state"] == "clean", 60)
    assert (_blocks(server), drop_ins(server)) == ("# GPU blocks: 9,000", "")


def test_a_unit_that_somebody_stops_meanwhile_stays_stopped_and_is_named(server: Host) -> None:
    assert _shrink(server, "stopped")["state"] == "active"
    sh(server, "systemctl stop kv-server")
    [undone] = server.agent("undo", {"lease": "stopped"}, timeout_s=60)["leases"]
    assert undone["state"] == "clean"
    assert "stopped by somebody meanwhile" in undone["left_alone"][0]
    assert (sh(server, "systemctl show -P ActiveState kv-server").strip(), drop_ins(server)) == ("inactive", "")


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (
            "ExecStart=/usr/bin/python3 /opt/kv-server.py $SHARE\nEnvironment=SHARE=--share=0.9",
            "written anew for certain",
        ),
        ("ExecStart=-/usr/bin/python3 /opt/kv-server.py --share=0.9", "written anew for certain"),
        ("ExecStart=/usr/bin/python3 -c 'import time; time.sleep(99)'", "tells no number of blocks"),
    ],
)
def test_a_command_that_is_not_known_for_certain_and_a_silent_server_are_not_touched(
    service: str, said: str, host: Host
) -> None:
    with unit(host, "kv-server", _SERVER, service):
        sh(host, "sleep 0.3")
        before = sh(host, "systemctl show -P InvocationID kv-server")
        assert said in _shrink(host, f"refused-{abs(hash(service))}")["error"]["message"]
        assert (sh(host, "systemctl show -P InvocationID kv-server"), drop_ins(host)) == (before, "")
