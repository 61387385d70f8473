# SPDX-License-Identifier: Apache-2.0
"""What people and services do to a unit while a fault is on it: left alone and reported, or found out."""

from collections.abc import Iterator

import pytest

from bench.hosts import Host
from bench.leases import state
from bench.units import LOOP, apply, drop_ins, order, put, shown, take_away, undo
from bench.waiting import wait_until

UNIT = "meant.service"
DIES_WITHOUT_GPU = "ExecStart=/bin/sh -c '[ \"$CUDA_VISIBLE_DEVICES\" = -1 ] && exit 3; while sleep 0.1; do :; done'"


@pytest.fixture
def clean(host: Host) -> Iterator[Host]:
    """Take the unit away afterwards."""
    yield host
    host.agent("undo", {"all": True}, timeout_s=120)
    take_away(host, UNIT)


def _ask(host: Host, *words: str) -> None:
    host.run(["systemctl", *words], check=True)


def test_one_that_somebody_started_by_hand_is_left_alone_and_reported(clean: Host) -> None:
    answer = apply(clean, "unit.stop", put(clean, UNIT))
    _ask(clean, "start", UNIT)
    [listed] = clean.agent("list", {"verify": True}, timeout_s=60)["leases"]
    assert listed["verified"] is False
    theirs = shown(clean, UNIT, "InvocationID")
    line = undo(clean, answer)
    assert line["state"] == "clean"
    assert "was started by somebody else meanwhile" in line["left_alone"][0]
    assert shown(clean, UNIT, "InvocationID") == theirs


@pytest.mark.parametrize("fault", ["unit.freeze", "unit.gpu.deny", "unit.gpu.hide"])
def test_one_that_somebody_stopped_stays_down_and_is_reported(fault: str, clean: Host) -> None:
    answer = apply(clean, fault, put(clean, UNIT))
    _ask(clean, "stop", UNIT)
    line = undo(clean, answer)
    assert line["state"] == "clean", line
    assert "was stopped by somebody meanwhile" in line["left_alone"][0]
    assert shown(clean, UNIT, "ActiveState") == ["inactive"]
    assert drop_ins(clean) == []


def test_one_that_came_back_by_itself_and_was_then_stopped_stays_down(clean: Host) -> None:
    answer = apply(clean, "unit.kill", put(clean, UNIT, f"{LOOP}\nRestart=always"))
    wait_until(lambda: shown(clean, UNIT, "ActiveState", "NRestarts") == ["active", "1"])
    _ask(clean, "stop", UNIT)
    line = undo(clean, answer)
    assert line["state"] == "clean", line
    assert "was stopped by somebody meanwhile" in line["left_alone"][0]
    assert shown(clean, UNIT, "ActiveState") == ["inactive"]


def test_one_that_somebody_thawed_is_reported(clean: Host) -> None:
    answer = apply(clean, "unit.freeze", put(clean, UNIT))
    _ask(clean, "thaw", UNIT)
    line = undo(clean, answer)
    assert line["state"] == "clean"
    assert "was thawed, or started anew, by somebody" in line["left_alone"][0]


def test_one_that_systemd_has_given_up_is_brought_back(clean: Host) -> None:
    limits = "StartLimitIntervalSec=1h\nStartLimitBurst=1"
    answer = apply(clean, "unit.kill", put(clean, UNIT, f"{LOOP}\nRestart=always", limits))
    wait_until(lambda: shown(clean, UNIT, "ActiveState") == ["failed"])
    assert clean.run(["systemctl", "start", UNIT]).returncode != 0  # the control: nobody starts it without reset-failed
    line = undo(clean, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert shown(clean, UNIT, "ActiveState") == ["active"]


def test_one_that_does_not_bear_the_loss_of_its_gpu_is_brought_back(clean: Host) -> None:
    answer = apply(clean, "unit.gpu.hide", put(clean, UNIT, DIES_WITHOUT_GPU))
    assert answer["observed"]["active_state"] == "failed"
    line = undo(clean, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert line["restored"]["environment_is_as_before"] is True
    assert shown(clean, UNIT, "ActiveState") == ["active"]


def test_an_environment_file_that_sets_it_again_is_found_out(clean: Host) -> None:
    clean.run(["sh", "-c", "echo CUDA_VISIBLE_DEVICES=0 > /etc/own.env"], check=True)
    unit = put(clean, UNIT, f"{LOOP}\nEnvironmentFile=/etc/own.env")
    ordered = order("unit.gpu.hide", unit)
    answer = clean.agent("apply", ordered, timeout_s=60)
    assert answer["error"]["kind"] == "unverified", answer
    assert "may set it again" in answer["error"]["message"]
    assert state(clean, ordered["lease"])["state"] == "clean"
    assert drop_ins(clean) == []
    assert shown(clean, UNIT, "ActiveState") == ["active"]


def test_a_drop_in_that_somebody_changed_stays_and_the_lease_is_stuck_until_it_does_no_harm(clean: Host) -> None:
    answer = apply(clean, "unit.gpu.hide", put(clean, UNIT))
    [path] = drop_ins(clean)
    clean.run(["sh", "-c", f"echo '# mine now' >> {path}"], check=True)
    line = undo(clean, answer)
    assert line["state"] == "stuck", line
    assert path in line["reason"]
    assert drop_ins(clean) == [path]
    clean.run(["rm", path], check=True)
    assert undo(clean, answer)["state"] == "clean"
    assert shown(clean, UNIT, "ActiveState", "DropInPaths") == ["active", ""]


def test_a_drop_in_that_somebody_removed_is_forgotten_by_systemd_too(clean: Host) -> None:
    answer = apply(clean, "unit.gpu.deny", put(clean, UNIT))
    [path] = drop_ins(clean)
    clean.run(["rm", path], check=True)
    line = undo(clean, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert shown(clean, UNIT, "DevicePolicy", "DropInPaths") == ["auto", ""]


def test_a_policy_and_a_drop_in_that_were_there_before_are_there_afterwards(clean: Host) -> None:
    unit = put(clean, UNIT, f"{LOOP}\nDevicePolicy=closed\nDeviceAllow=/dev/nvidia0 rw\nDeviceAllow=/dev/fuse rw")
    _ask(clean, "set-property", "--runtime", unit, "DeviceAllow=/dev/nvidia1 r")
    before = shown(clean, unit, "DevicePolicy", "DropInPaths")
    answer = apply(clean, "unit.gpu.deny", unit)
    text = answer["prior"]["drop_in"]["text"]
    assert "DeviceAllow=/dev/fuse rw\n" in text
    assert "DeviceAllow=/dev/null rwm\n" in text
    assert "nvidia" not in text.partition("\n")[2]
    assert undo(clean, answer)["state"] == "clean"
    assert shown(clean, unit, "DevicePolicy", "DropInPaths") == before
    _ask(clean, "revert", unit)


def test_one_gpu_is_denied_and_the_other_stays(clean: Host) -> None:
    unit = put(clean, UNIT)
    clean.run(["sh", "-c", "rm /dev/nvidia1; mknod -m 0666 /dev/nvidia1 c 1 7"], check=True)  # a number of its own
    try:
        uuid = clean.gpus().show()[0]["identity"]["uuid"]
        answer = apply(clean, "unit.gpu.deny", unit, gpu=uuid)
        assert answer["observed"]["denied"] == ["/dev/nvidia0"]
        group = f"/sys/fs/cgroup/system.slice/{unit}/cgroup.procs"
        codes = [
            clean.run(["sh", "-c", f"echo $$ > {group}; exec head -c1 /dev/{name}"]).returncode
            for name in ("nvidia0", "nvidia1")
        ]
        assert codes[0] != 0
        assert codes[1] == 0
        assert undo(clean, answer)["state"] == "clean"
    finally:
        clean.run(["sh", "-c", "rm /dev/nvidia1; mknod -m 0666 /dev/nvidia1 c 1 5"], check=True)
