# SPDX-License-Identifier: Apache-2.0
"""Hosts against a lock file, against each other, and against themselves: what differs, and what is unknown."""

import datetime as dt

import pytest

from chaosgpu.cuda.baseline import lock_from
from chaosgpu.cuda.compare import against_lock, due_of, outliers
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.facts import Facts, LookAt
from chaosgpu.cuda.flat import flat
from chaosgpu.cuda.lock import Lock
from chaosgpu.cuda.report import as_json, as_text
from chaosgpu.cuda.scan import CLEAN, DRIFT, UNKNOWN, Scan, scan
from chaosgpu.errors import BadArgument, ChaosGpuError, Refused, Unreachable
from chaosgpu.fleet.values import JsonValue
from support.drift_facts import GPU, host

TODAY = dt.date(2026, 11, 26)
NAMES = ("gpu01", "gpu02", "gpu03", "gpu04")


def _fleet(**changed: dict[str, JsonValue]) -> dict[str, Facts | ChaosGpuError]:
    return {name: host(name, changed.get(name)) for name in NAMES}


def _lock() -> Lock:
    hosts = [flat(host(name)) for name in NAMES]
    return lock_from({"h100": hosts}, LookAt(services=["triton.service"]), TODAY)


def _scanned(answers: dict[str, Facts | ChaosGpuError], lock: Lock | None = None, today: dt.date = TODAY) -> Scan:
    return scan(answers, lock, compatibility(), today)


def test_hosts_as_they_were_when_the_lock_was_made_have_no_drift() -> None:
    found = _scanned(_fleet(), _lock())
    assert found.exit_code == CLEAN
    assert as_text(found, explain=True) == "no drift: 4 hosts, compared with the lock file\n"


def test_a_changed_value_is_drift_with_both_values_and_what_it_breaks() -> None:
    found = _scanned(_fleet(gpu03={"kernel/release": "6.8.0-90-generic"}), _lock())
    assert found.exit_code == DRIFT
    [one] = found.differences
    assert (one.host, one.key, one.due, one.found) == (
        "gpu03", "kernel.release", "6.8.0-85-generic", "6.8.0-90-generic",
    )  # fmt: skip
    text = as_text(found, explain=True)
    assert "gpu03: kernel.release: locked 6.8.0-85-generic, found 6.8.0-90-generic" in text
    assert "modules are built for one kernel" in text
    assert "drift: 1 of 4 hosts" in text


def test_a_package_that_has_gone_is_drift_and_not_unknown() -> None:
    found = _scanned(_fleet(gpu01={"packages/installed/libnccl2": None}), _lock())
    assert [(one.key, one.found) for one in found.differences] == [("packages.libnccl2", None)]
    assert "found absent" in as_text(found, explain=False)


def test_locks_of_dnf_that_cannot_be_read_and_excludes_are_compared_under_apts_names() -> None:
    pins: JsonValue = [{"package": "nvidia*", "pin": "excluded from cuda", "repository": "cuda", "file": "/x"}]
    told = host("gpu01", {"packages/holds": None, "apt/pins": pins}, packages__holds="no rights")
    assert flat(told).values["apt.pins"] == ("nvidia* excluded from cuda",)
    found = _scanned({**_fleet(), "gpu01": told}, _lock())
    assert {one.key for one in found.differences} == {"apt.pins"}
    assert {one.key: one.why for one in found.unread} == {"apt.holds": "no rights"}


def test_a_locked_value_that_cannot_be_read_is_unknown_and_not_clean() -> None:
    blind = host("gpu01", {"packages": {}, "apt/pins": None}, packages__installed="no dpkg", apt__pins="no rights")
    found = _scanned(_fleet() | {"gpu01": blind}, _lock())
    assert found.exit_code == UNKNOWN
    assert {one.key: one.why for one in found.unread}["packages.libnccl2"] == "no dpkg"
    assert {one.key: one.why for one in found.unread}["apt.holds"] == "no dpkg"
    assert "unknown: no drift is known, but not all of 4 hosts could be read" in as_text(found, explain=False)


def test_a_gpu_that_does_not_answer_makes_all_of_the_gpus_unknown() -> None:
    blind = host("gpu01", {"gpus/GPU-2": None}, **{"gpus__GPU-2": "the call hung"})
    found = _scanned(_fleet() | {"gpu01": blind}, _lock())
    assert found.exit_code == UNKNOWN
    assert {one.why for one in found.unread} == {"the call hung"}
    assert "gpus.count" in {one.key for one in found.unread}


def test_drift_that_is_known_counts_more_than_what_is_unknown() -> None:
    silent: dict[str, Facts | ChaosGpuError] = {"gpu02": Unreachable("no answer within 60 s")}
    found = _scanned(_fleet(gpu01={"kernel/release": "x"}) | silent, _lock())
    assert found.exit_code == DRIFT
    assert as_json(found)["silent"] == {"gpu02": "no answer within 60 s"}


def test_a_host_that_gives_no_answer_is_unknown() -> None:
    silent: dict[str, Facts | ChaosGpuError] = {"gpu02": Unreachable("no answer within 60 s")}
    assert _scanned(_fleet() | silent, _lock()).exit_code == UNKNOWN
    assert _scanned(_fleet() | silent).exit_code == UNKNOWN


def test_a_host_that_the_lock_does_not_have_is_an_error_and_not_clean() -> None:
    with pytest.raises(BadArgument, match="No group of the lock file has the host gpu09"):
        _scanned({"gpu09": host("gpu09")}, _lock())


def test_hosts_of_the_lock_that_were_not_asked_are_named() -> None:
    found = _scanned({"gpu01": host("gpu01")}, _lock())
    assert found.exit_code == CLEAN
    assert "note: not asked, though in the lock file: gpu02, gpu03, gpu04" in as_text(found, explain=False)


def test_an_exception_holds_until_its_day_and_not_longer() -> None:
    odd: dict[str, JsonValue] = {"kernel/release": "6.8.0-90-generic"}
    lock = lock_from({"h100": [flat(host(name, odd if name == "gpu04" else None)) for name in NAMES]}, LookAt(), TODAY)
    assert [*lock.exceptions] == ["gpu04"]
    until = lock.exceptions["gpu04"].model_copy(update={"until": dt.date(2026, 12, 1)})
    ends = lock.model_copy(update={"exceptions": {"gpu04": until}})
    assert _scanned(_fleet(gpu04=odd), ends).exit_code == CLEAN
    late = _scanned(_fleet(gpu04=odd), ends, dt.date(2026, 12, 2))
    assert late.exit_code == DRIFT
    assert "the exception for gpu04 ended on 2026-12-01" in late.notes


def test_a_value_that_is_not_locked_may_be_anything() -> None:
    due = {"driver.module": "580.95.05"}
    assert against_lock(due, flat(host(changes={"kernel/release": "other"}))) == ([], [])


def test_the_order_of_a_list_is_no_drift_but_its_number_is() -> None:
    due = {"apt.holds": ("b", "a")}
    assert against_lock(due, flat(host(changes={"packages/holds": ["a", "b"]})))[0] == []
    assert len(against_lock(due, flat(host(changes={"packages/holds": ["a", "b", "b"]})))[0]) == 1


def test_without_a_lock_the_odd_one_out_is_named_with_the_majority() -> None:
    found = _scanned(_fleet(gpu02={"gpus/GPU-2": {**GPU, "vbios": "96.00.74.00.01"}}))
    assert found.exit_code == DRIFT
    [one] = found.outliers
    assert (one.key, one.majority, one.agree, one.total) == ("gpus.vbios", "96.00.89.00.01", 3, 4)
    assert "gpus.vbios: 96.00.89.00.01 (3 of 4) | 96.00.74.00.01 x1, 96.00.89.00.01 x1: gpu02" in as_text(
        found, explain=False
    )


def test_a_fleet_that_is_split_has_no_majority_and_both_sides_are_named() -> None:
    odd: dict[str, JsonValue] = {"kernel/release": "other"}
    [one] = outliers([flat(host(name, odd if name > "gpu02" else None)) for name in NAMES])
    assert (one.agree, one.majority) == (0, None)
    assert sorted(map(tuple, one.others.values())) == [("gpu01", "gpu02"), ("gpu03", "gpu04")]


def test_a_split_fleet_makes_no_lock_file() -> None:
    odd: dict[str, JsonValue] = {"kernel/release": "other"}
    hosts = [flat(host(name, odd if name > "gpu02" else None)) for name in NAMES]
    with pytest.raises(Refused, match=r"no majority for kernel\.release: which is right\?"):
        lock_from({"all": hosts}, LookAt(), TODAY)
    lock_from({"one": hosts[:2], "other": hosts[2:]}, LookAt(), TODAY)


def test_a_host_that_cannot_tell_a_value_has_no_vote_on_it() -> None:
    blind = host("gpu04", {"kernel/release": None}, kernel__release="may not be read")
    assert outliers([flat(host(name)) for name in NAMES[:3]] + [flat(blind)]) == []
    lacking = host("gpu04", {"packages/installed/libnccl2": None})
    [one] = outliers([flat(host(name)) for name in NAMES[:3]] + [flat(lacking)])
    assert one.others == {None: ["gpu04"]}


def test_a_mixed_fleet_is_seen_though_nothing_crashes() -> None:
    """The first incident of the field: nodes of CUDA 11.8 among nodes of 12.1, whose answers differ slightly."""
    old: JsonValue = [{"path": "/opt/libcudart.so.11.8.89", "version": "11.8.89", "deleted": False}]
    found = _scanned(_fleet(gpu04={"services|triton.service|libcudart": old}))
    assert found.exit_code == DRIFT
    assert [one.key for one in found.outliers] == ["services.triton.service.libcudart"]
    assert "answers that differ slightly, and nothing crashes" in as_text(found, explain=True)


def test_a_driver_upgraded_under_running_services_is_seen_without_a_lock() -> None:
    """The second incident: the package and the library are new, the module that runs is old."""
    new: dict[str, JsonValue] = {
        "driver/package": "580.105.08-0ubuntu1", "driver/library": "580.105.08", "driver/nvml_library": "580.105.08",
    }  # fmt: skip
    found = _scanned({"gpu01": host("gpu01", new)})
    assert found.exit_code == DRIFT
    assert {one.rule for one in found.findings} == {"library-is-not-the-modules", "installed-is-not-loaded"}


def test_one_host_alone_is_compared_with_itself_and_says_so() -> None:
    found = _scanned({"gpu01": host("gpu01")})
    assert found.exit_code == CLEAN
    assert "note: one host and no lock file" in as_text(found, explain=False)


def test_compatibility_data_that_has_grown_old_says_so() -> None:
    found = _scanned({"gpu01": host("gpu01")}, today=dt.date(2027, 9, 1))
    assert any("the compatibility data is of 2026-11-26" in note for note in found.notes)
    assert not any("compatibility data" in note for note in _scanned({"gpu01": host("gpu01")}).notes)


def test_two_hosts_that_differ_without_a_lock_say_that_nobody_has_a_majority() -> None:
    pair: dict[str, Facts | ChaosGpuError] = {name: host(name) for name in NAMES[:2]}
    assert _scanned(pair).notes == ["two hosts and no lock file: where they differ, nobody has a majority"]
    assert _scanned({"gpu01": Unreachable("no answer")}).notes == []


def test_what_every_host_has_of_its_own_is_no_drift() -> None:
    mine = host("gpu01", {"kernel/command_line": "root=UUID=2 ro iommu=pt", "gpus/GPU-1": {**GPU, "serial": "9"}})
    assert outliers([flat(mine), flat(host("gpu02")), flat(host("gpu03"))]) == []


def test_a_lock_made_of_nothing_is_refused() -> None:
    with pytest.raises(BadArgument, match="an empty selection is an error"):
        lock_from({"all": []}, LookAt(), TODAY)


def test_the_due_values_of_a_host_are_those_of_its_group() -> None:
    assert due_of(_lock(), "gpu02", TODAY)["driver.module"] == "580.95.05"
