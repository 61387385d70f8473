# SPDX-License-Identifier: Apache-2.0
"""A systemd host is taken out of service and back: the real Triton, small units, reboots, kills, people's hands."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from bench import ssh
from bench.files import AGENT
from bench.hosts import Bench, Host
from bench.leases import order
from bench.service import HOOK, ask, forget, gates, hook, lines, on_gpu, refusal, struck, touch_then_write
from bench.units import ETC, LOOP, put, shown, take_away
from bench.waiting import wait_until

UNITS = ("one.service", "two.service")
WANTED: dict[str, Any] = {"units": [*UNITS]}
UP = ["active", "active"]
DOWN = ["inactive", "inactive"]
STUBBORN = "ExecStart=/bin/sh -c 'trap \"\" TERM; while sleep 0.1; do :; done'\nTimeoutStopSec=6\nKillMode=process"

pytestmark = pytest.mark.timeout(900)  # a machine that is busy with other proofs is slow


@pytest.fixture
def served(host: Host) -> Iterator[Host]:
    """Give a host with two small services up, and nothing of ours on it before or after."""
    forget(host)
    for unit in UNITS:
        put(host, unit)
    yield host
    forget(host)
    take_away(host, *UNITS)


def _states(host: Host) -> list[str]:
    return [shown(host, unit, "ActiveState")[0] for unit in UNITS]


def _on_gpus(host: Host) -> list[int]:
    return [process["pid"] for gpu in host.gpus().show() for process in gpu["processes"]]


def test_the_real_triton_is_taken_off_its_gpu_and_serves_again_after_the_return(served: Host) -> None:
    served.run(["systemctl", "start", "triton"], check=True)
    try:
        wait_until(lambda: _on_gpus(served), 60.0)
        told = ask(served, "drain", units=["triton"], check=True)
        answer = ask(served, "drain", units=["triton"])
        assert (answer.get("state"), _on_gpus(served)) == ("drained", []), answer
        assert [told[key] for key in ("changed", "before", "after")] == [
            answer[key] for key in ("changed", "before", "after")
        ]
        assert lines(answer) == {"host": "drained", "unit triton.service": "down, start refused"}
        refused = served.run(["systemctl", "start", "triton"])
        assert refused.returncode != 0
        assert "ssert" in refused.stderr
        back = ask(served, "return")
        assert (back["state"], back["changed"], back["left_alone"]) == ("in service", True, [])
        wait_until(lambda: _on_gpus(served), 60.0)
        assert gates(served) == []
    finally:
        served.run(["systemctl", "stop", "triton"], timeout_s=60)


def test_twice_changes_nothing_and_each_check_says_what_the_run_then_does(served: Host) -> None:
    for verb, wanted in (("drain", WANTED), ("return", {})):
        told = ask(served, verb, check=True, **wanted)
        done = ask(served, verb, **wanted)
        assert done["changed"] is True
        assert [told[key] for key in ("before", "after", "state")] == [
            done[key] for key in ("before", "after", "state")
        ]
        assert ask(served, verb, check=True, **wanted)["changed"] is False
        assert ask(served, verb, **wanted)["changed"] is False
    assert _states(served) == UP


def test_a_host_that_reboots_while_drained_stays_drained_and_returns_as_it_was(served: Host) -> None:
    served.run(["systemctl", "stop", "two.service"], check=True)  # down before, and enabled: a boot would start it
    served.run(["systemctl", "enable", "--quiet", *UNITS], check=True)
    answer = ask(served, "drain", **WANTED)
    assert lines(answer)["unit two.service"] == "down, start refused"
    served.reboot()
    wait_until(lambda: served.run(["systemctl", "is-system-running", "--wait"]).returncode in (0, 1), 60.0)
    assert _states(served) == DOWN
    assert ask(served, "status")["state"] == "drained"
    back = ask(served, "return")
    assert back["left_alone"] == [], back
    assert _states(served) == ["active", "inactive"]
    assert gates(served) == []


def test_what_a_person_started_stays_and_what_a_person_masked_stays_and_both_are_told(served: Host) -> None:
    served.run(["sh", "-c", "mkdir -p /usr/local/lib/systemd/system"], check=True)
    vendor = "/usr/local/lib/systemd/system/vendor.service"
    served.run(["sh", "-c", f"cat > {vendor}; systemctl daemon-reload; systemctl start vendor"], f"[Service]\n{LOOP}\n")
    try:
        ask(served, "drain", units=[*UNITS, "vendor.service"])
        served.run(["sh", "-c", "rm /etc/systemd/system/one.service.d/50*; systemctl daemon-reload"], check=True)
        served.run(["systemctl", "start", "one.service"], check=True)
        served.run(["systemctl", "mask", "vendor.service"], check=True)
        told = ask(served, "return", check=True)
        back = ask(served, "return")
        assert told["left_alone"] == back["left_alone"]
        assert sorted(back["left_alone"]) == [
            "one.service was started by somebody meanwhile; it was left so",
            "vendor.service is masked now; it was left so",
        ]
        assert _states(served) == UP
        assert shown(served, "vendor.service", "ActiveState", "LoadState") == ["inactive", "masked"]
    finally:
        served.run(["systemctl", "unmask", "vendor.service"])
        served.run(["sh", "-c", f"systemctl stop vendor; rm -f {vendor}; systemctl daemon-reload"])


def test_what_a_person_started_and_stopped_again_is_not_started_and_a_gate_that_is_gone_is_told(served: Host) -> None:
    served.run(["systemctl", "enable", "--quiet", "two.service"], check=True)  # so that systemd remembers it
    ask(served, "drain", **WANTED)
    script = "rm /etc/systemd/system/{one,two}.service.d/50*; systemctl daemon-reload; systemctl start two"
    served.run(["bash", "-c", f"{script}; systemctl stop two"], check=True)
    back = ask(served, "return")
    assert _states(served) == ["active", "inactive"]
    assert back["left_alone"] == [
        f"{ETC}/one.service.d/50-chaosgpu-drained.conf was removed by somebody; one.service is started all the same",
        "two.service was started meanwhile and is down again; it was left so",
    ]


def test_another_drills_drain_is_refused_by_name(served: Host) -> None:
    ask(served, "drain", **WANTED)
    assert "drained for the drill d1" in refusal(ask(served, "drain", drill="d2", **WANTED))
    assert "and not for d2" in refusal(ask(served, "return", drill="d2"))
    assert _states(served) == DOWN


def test_units_that_would_go_with_it_or_wake_it_are_named_before_anything_is_touched(served: Host) -> None:
    put(served, "needs.service", unit="Requires=one.service\nAfter=one.service")
    timer = "[Timer]\nOnActiveSec=600\nUnit=two.service\n"
    served.run(
        ["sh", "-c", "cat > /etc/systemd/system/two.timer; systemctl daemon-reload; systemctl start two.timer"], timer
    )
    try:
        assert "needs.service would go down with one.service" in refusal(ask(served, "drain", units=["one"]))
        assert "two.timer would go down with two.service" in refusal(ask(served, "drain", units=["two"]))
        every = ["needs", "one", "two.timer", "two"]
        ask(served, "drain", units=every)
        assert _states(served) == DOWN
        assert ask(served, "return")["left_alone"] == []
        names = ("needs.service", "two.timer", *UNITS)
        assert [shown(served, name, "ActiveState")[0] for name in names] == ["active"] * 4
    finally:
        served.run(["sh", "-c", "systemctl stop two.timer; rm /etc/systemd/system/two.timer"])
        take_away(served, "needs.service")


@pytest.mark.parametrize(
    ("unit", "sentence"),
    [
        ("ssh", "ssh.service holds this host together or brings us to it"),
        ("nowhere", "systemd has no working unit nowhere.service"),
    ],
)
def test_a_unit_that_is_not_to_be_touched_is_refused(served: Host, unit: str, sentence: str) -> None:
    assert sentence in refusal(ask(served, "drain", units=["one", unit]))
    assert _states(served) == UP


def test_a_unit_that_the_policy_protects_is_refused_and_a_broken_policy_keeps_no_host_from_its_return(
    served: Host,
) -> None:
    path = "/etc/chaosgpu/policy.json"
    policy = json.loads(served.run(["cat", path], check=True).stdout)
    policy["protected"]["units"] = ["two"]
    served.run(["sh", "-c", f"cp {path} /root/policy; cat > {path}"], json.dumps(policy), check=True)
    try:
        assert "This host's policy protects two" in refusal(ask(served, "drain", **WANTED))
        assert _states(served) == UP
        assert ask(served, "drain", units=["one"])["state"] == "drained"
        served.run(["sh", "-c", f"echo torn > {path}"], check=True)
        assert ask(served, "return")["state"] == "in service"
    finally:
        served.run(["sh", "-c", f"cat /root/policy > {path}; rm /root/policy"], check=True)
    assert _states(served) == UP


def test_edits_that_nobody_has_loaded_are_not_put_in_force_by_a_drain(served: Host) -> None:
    served.run(["sh", "-c", "echo '# edited' >> /etc/systemd/system/two.service"], check=True)
    assert "Unit files were changed on this host and not loaded yet (two.service)" in refusal(
        ask(served, "drain", **WANTED)
    )
    assert (_states(served), gates(served)) == (UP, [])


def test_a_process_on_a_gpu_that_nobody_has_named_refuses_the_drain_by_pid_name_and_unit(served: Host) -> None:
    on_gpu(served, "stranger")
    try:
        wait_until(lambda: _on_gpus(served))
        said = refusal(ask(served, "drain", **WANTED))
        assert "Processes would stay on the GPUs of this host: pid " in said
        assert "(python3" in said
        assert "stranger.service) on GPU-" in said
        assert (_states(served), gates(served)) == (UP, [])
        allowed = ask(served, "drain", allow_processes=[said.partition("(")[2].partition(",")[0]], **WANTED)
        assert allowed["state"] == "drained"
        ask(served, "return")
    finally:
        served.run(["systemctl", "stop", "stranger"])


def test_one_that_comes_while_the_host_is_drained_refuses_it_and_all_is_put_back(served: Host) -> None:
    words = hook(served)
    served.run(["sh", "-c", f"cat >> {HOOK}"], '[ "$1" != drain ] || systemctl start late.service\n', check=True)
    on_gpu(served, "late")
    wait_until(lambda: _on_gpus(served))
    try:
        said = refusal(ask(served, "drain", hook=words, within_s=40, **WANTED))
        assert "Processes are on the GPUs of this host: pid " in said
        assert said.endswith("What was taken is put back.")
        assert (_states(served), gates(served)) == (UP, [])
        assert served.run(["cat", "/run/balancer"]).stdout.split()[-1] == "return"
    finally:
        served.run(["systemctl", "stop", "late"])


def test_a_unit_that_does_not_stop_in_time_refuses_the_drain_and_what_was_taken_is_put_back(served: Host) -> None:
    put(served, "stubborn.service", STUBBORN.replace("\nKillMode=process", ""))
    try:
        said = refusal(ask(served, "drain", units=["one", "stubborn"], within_s=3))
        assert "These units did not stop within 3 s: " in said
        ask(served, "return", within_s=30)
        assert [shown(served, unit, "ActiveState")[0] for unit in ("one.service", "stubborn.service")] == [
            "active",
            "active",
        ]
        assert gates(served) == []
    finally:
        served.run(["systemctl", "kill", "--signal=KILL", "stubborn"])
        take_away(served, "stubborn.service")


def test_a_unit_that_does_not_come_back_keeps_the_host_out_of_service(served: Host) -> None:
    words = hook(served)
    ask(served, "drain", hook=words, **WANTED)
    served.run(
        ["sh", "-c", "sed -i 's,ExecStart=.*,ExecStart=/bin/false,' /etc/systemd/system/two.service"], check=True
    )
    served.run(["systemctl", "daemon-reload"], check=True)
    said = refusal(ask(served, "return", within_s=5))
    assert "two.service" in said
    assert "The host is not back in service" in said
    assert "return" not in served.run(["cat", "/run/balancer"]).stdout.split()
    put(served, "two.service", start=False)
    assert ask(served, "return")["state"] == "in service"
    assert (_states(served), served.run(["cat", "/run/balancer"]).stdout.split()[-1]) == (UP, "return")


def test_the_hook_says_no_before_anything_is_touched_and_is_told_what_for(served: Host) -> None:
    words = hook(served)
    served.run(["touch", "/run/balancer.no-check"], check=True)
    assert "the pool has no other host" in refusal(ask(served, "drain", hook=words, **WANTED))
    assert _states(served) == UP
    served.run(["rm", "/run/balancer.no-check"], check=True)
    ask(served, "drain", hook=words, **WANTED)
    told = json.loads(served.run(["cat", "/run/balancer.told"]).stdout.splitlines()[-1])
    assert told == {"going": "drain", "drill": "d1", "reason": "autumn drill", "host": served.name}
    ask(served, "return")
    assert served.run(["cat", "/run/balancer"]).stdout.split() == [
        "check",
        "check",
        "drain",
        "check",
        "check",
        "return",
    ]


def test_a_drain_killed_at_each_step_is_finished_by_the_next_or_undone_by_a_return(served: Host) -> None:
    wanted: dict[str, Any] = {**WANTED, "hook": hook(served), "reason": "autumn drill"}
    struck_at = 0
    while True:
        steps = struck(served, "drain", struck_at + 1, **wanted)
        if steps is None:
            break
        struck_at += 1
        if struck_at % 2:
            assert ask(served, "drain", **wanted)["state"] == "drained"
            assert _states(served) == DOWN, steps
        back = ask(served, "return")
        assert (back["state"], back["left_alone"]) == ("in service", []), (steps, back)
        assert (_states(served), gates(served)) == (UP, []), steps
    assert struck_at >= 12
    ask(served, "return")


def test_a_return_killed_at_each_step_is_finished_by_the_next(served: Host) -> None:
    wanted: dict[str, Any] = {**WANTED, "hook": hook(served)}
    struck_at = 0
    while True:
        assert ask(served, "drain", **wanted)["state"] == "drained"
        steps = struck(served, "return", struck_at + 1)
        if steps is None:
            break
        struck_at += 1
        back = ask(served, "return")
        assert (back["state"], back["left_alone"]) == ("in service", []), (steps, back)
        assert (_states(served), gates(served)) == (UP, []), steps
    assert struck_at >= 10


def test_the_order_touch_then_write_leaves_units_down_that_no_return_brings_back(served: Host) -> None:
    lost = []
    for at in range(1, 6):
        touch_then_write(served, at, **WANTED)
        ask(served, "return")
        if (_states(served), gates(served)) != (UP, []):
            lost.append(at)
        forget(served)
        served.run(["systemctl", "start", *UNITS], check=True)
    assert lost


def test_a_quarantined_host_refuses_faults_and_tells_whoever_logs_in_until_it_is_released(
    served: Host, fleet: Bench
) -> None:
    ask(served, "drain", **WANTED)
    differences = ["libcuda.so.1 is 580.95.05 and was 570.172.08"]
    told = ask(served, "quarantine", reason="it did not come back", differences=differences, by="ann", check=True)
    answer = ask(served, "quarantine", reason="it did not come back", differences=differences, by="ann")
    assert [told[key] for key in ("changed", "before", "after")] == [
        answer[key] for key in ("changed", "before", "after")
    ]
    assert ask(served, "quarantine", reason="it did not come back", by="ann")["changed"] is False
    assert served.run(["cat", "/var/lib/chaosgpu/service/QUARANTINE"]).returncode == 0
    assert served.agent("apply", order(served, "l", 30.0))["error"]["kind"] == "halted"
    for verb in ("return", "drain"):
        assert "This host is quarantined since" in refusal(ask(served, verb))
    served.reboot()
    assert served.agent("apply", order(served, "l", 30.0))["error"]["kind"] == "halted"
    assert _states(served) == DOWN
    shown_at_login = _login(served, fleet)
    assert "THIS HOST IS QUARANTINED since" in shown_at_login
    assert "libcuda.so.1 is 580.95.05" in shown_at_login
    assert "by must be a text" in refusal(ask(served, "release", reason="mended"))
    released = ask(served, "release", by="ann", reason="driver put back by hand")
    assert (released["changed"], released["state"]) == (True, "drained")
    assert "QUARANTINED" not in _login(served, fleet)
    assert served.agent("list")["halted"] is None
    ask(served, "return")
    wait_until(lambda: _states(served) == UP)


def _login(host: Host, fleet: Bench) -> str:
    """Return what an interactive login shows."""
    words = ssh.words(fleet.plan, host.plan, "root", "-tt", "-o", "ControlPath=none")
    with fleet.inside():
        done = subprocess.run(words, input="exit\n", capture_output=True, text=True, timeout=30, check=False)
    return done.stdout


def test_the_one_line_in_sudoers_is_enough_and_a_hook_is_no_way_to_more(served: Host) -> None:
    assert ask(served, "status", user="ops")["state"] == "in service"
    said = refusal(ask(served, "drain", user="ops", hook=["/bin/sh", "-c", "id > /run/rooted"]))
    assert "The hook /bin/sh is not in /etc/chaosgpu/hooks" in said
    assert served.run(["test", "-e", "/run/rooted"]).returncode == 1
    assert (
        "Only root may take a host out of service" in served.run([AGENT, "service", "status"], "{}", user="ops").stdout
    )
