# SPDX-License-Identifier: Apache-2.0
"""Files of a service that vanish or are damaged, on a real systemd host: seen from outside, and back on every way."""

from collections.abc import Iterator
from typing import Any

import pytest

from bench.cuda_units import sh
from bench.file_units import FAULTS, FOLDER, INDEX, UNIT, seen, serve
from bench.files import AGENT
from bench.hosts import Host
from bench.leases import state
from bench.units import apply, order, shown, take_away, undo
from bench.waiting import wait_until

pytestmark = pytest.mark.timeout(600)

_VANISH, _DAMAGE = FAULTS
_PARAMS: dict[str, dict[str, Any]] = {_VANISH: {"files": [INDEX]}, _DAMAGE: {"files": [INDEX], "bytes": 5}}


@pytest.fixture
def clean(host: Host) -> Iterator[Host]:
    """Take the service and its files away afterwards."""
    yield host
    host.agent("undo", {"all": True}, timeout_s=120)
    take_away(host, UNIT)
    sh(host, f"rm -rf {FOLDER}")


def _residue(host: Host) -> list[str]:
    found = host.agent("read", {"reading": "residue", "params": {}}, timeout_s=60)["values"]["findings"]
    return [one["kind"] for one in found]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_put_in_seen_undone_and_undone_again(fault: str, clean: Host) -> None:
    serve(clean)
    before = seen(clean)
    answer = apply(clean, fault, UNIT, **_PARAMS[fault])
    during = seen(clean)
    assert during[-3:-1] != before[-3:-1]
    assert during[-1] == "active"
    assert sh(clean, "ls -d /chaosgpu-aside-*/0").split() == [f"{answer['observed']['aside'][0]}/0"]
    [told] = answer["observed"]["files"].values()
    assert told == ("another file of the unit's" if fault == _VANISH else "5 of 5 bytes are as they were flipped")
    [listed] = clean.agent("list", {"verify": True}, timeout_s=60)["leases"]
    assert listed["verified"] is True, listed
    assert _residue(clean) == []
    second = clean.agent("apply", order("unit.stop", UNIT), timeout_s=60)
    assert second["error"]["kind"] == "claimed", second
    line = undo(clean, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert seen(clean) == before
    assert undo(clean, answer)["state"] == "clean"


@pytest.mark.parametrize("fault", FAULTS)
def test_the_deadline_brings_them_back_with_the_network_cut(fault: str, clean: Host) -> None:
    serve(clean)
    before = seen(clean)
    answer = apply(clean, fault, UNIT, **_PARAMS[fault])
    clean.agent("renew", {"leases": [answer["lease"]], "ttl_s": 1})
    clean.cut_network()
    clean.restore_network()
    wait_until(lambda: state(clean, answer["lease"])["state"] == "clean", 60)
    assert state(clean, answer["lease"])["ended_by"] == "deadline"
    assert seen(clean) == before


def test_a_service_that_ends_without_its_index_and_is_started_again_and_again_is_brought_back(clean: Host) -> None:
    serve(
        clean, ends=True, service="Restart=always\nRestartSec=0.2", unit="StartLimitIntervalSec=1h\nStartLimitBurst=3"
    )
    before = seen(clean)
    answer = apply(clean, _VANISH, UNIT, **_PARAMS[_VANISH])
    assert list(answer["observed"]["files"].values()) == ["missing"]
    wait_until(lambda: shown(clean, UNIT, "ActiveState") == ["failed"], 20)
    [listed] = clean.agent("list", {"verify": True}, timeout_s=60)["leases"]
    assert listed["verified"] is True, listed
    line = undo(clean, answer)
    assert (line["state"], line["left_alone"]) == ("clean", []), line
    assert seen(clean) == before


def test_one_that_somebody_stopped_has_its_files_back_and_stays_down(clean: Host) -> None:
    serve(clean, enabled=True)
    before = seen(clean)
    answer = apply(clean, _VANISH, UNIT, **_PARAMS[_VANISH])
    sh(clean, f"systemctl stop {UNIT}")
    line = undo(clean, answer)
    assert line["state"] == "clean", line
    assert "was stopped by somebody meanwhile" in line["left_alone"][0]
    assert seen(clean) == [*before[:-1], "inactive"]


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_after_a_reboot_the_files_are_back_and_the_service_is_up_with_them(
    ordered: bool, enabled: bool, clean: Host
) -> None:
    serve(clean, enabled=enabled)
    sh(clean, f"{AGENT} install-units{f' --before {UNIT}' if ordered else ''}")
    before = seen(clean)
    answer = apply(clean, _VANISH, UNIT, **_PARAMS[_VANISH])
    clean.reboot()
    wait_until(lambda: state(clean, answer["lease"])["state"] == "clean", 60)
    wait_until(lambda: seen(clean)[-1] == "active", 20)
    assert seen(clean) == before
    # It was started once, and with its files, where it waits for the undo.
    made_anew = state(clean, answer["lease"])["restored"].get("replaced")
    assert made_anew == [INDEX]
    if ordered and enabled:
        assert sh(clean, f"journalctl -b -q -o cat -u {UNIT} | grep -c ^Started").strip() == "1"
    sh(clean, f"{AGENT} install-units")


def test_what_a_person_did_to_the_original_makes_the_lease_stuck_until_it_is_put_right(clean: Host) -> None:
    serve(clean)
    before = seen(clean)
    answer = apply(clean, _VANISH, UNIT, **_PARAMS[_VANISH])
    sh(clean, "mv /chaosgpu-aside-*/0 /root/kept")
    line = undo(clean, answer)
    assert (line["state"], f"systemctl stop {UNIT}" in str(line)) == ("stuck", True), line
    assert "lease.stuck" in _residue(clean)
    sh(clean, f"systemctl stop {UNIT}; mv /root/kept {INDEX}; systemctl start {UNIT}")
    assert undo(clean, answer)["state"] == "clean"
    assert seen(clean) == before


def test_a_file_of_another_user_or_in_anothers_hands_and_records_in_memory_are_refused(clean: Host) -> None:
    serve(clean)
    before = seen(clean)

    def why_not(*files: str) -> str:
        answer = clean.agent("apply", order(_VANISH, UNIT, files=[*files]), timeout_s=60)
        assert seen(clean)[-3:] == before[-3:]
        return str(answer["error"]["message"])

    sh(clean, f"cp {INDEX} {FOLDER}/theirs; chown games {FOLDER}/theirs")
    assert "it is not its own file" in why_not(f"{FOLDER}/theirs")
    sh(clean, f"(exec 4<{INDEX}; exec sleep 4711) >/dev/null 2>&1 </dev/null & sleep 0.3; rm {FOLDER}/theirs")
    assert "have its files open" in why_not(INDEX)
    sh(clean, "pkill -f '^sleep 4711'")
    sh(clean, "mount -t tmpfs -o mode=0700 tmpfs /var/lib/chaosgpu")
    try:
        assert "after a reboot nobody would know what is aside" in why_not(INDEX)
    finally:
        sh(clean, "umount --lazy /var/lib/chaosgpu")
    assert seen(clean) == before
