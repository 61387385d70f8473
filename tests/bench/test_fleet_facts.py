# SPDX-License-Identifier: Apache-2.0
"""The facts of a real systemd host: what its services have loaded, by control group; two hosts and their drift."""

from typing import Any

from bench.cuda_units import beside, sh, unit
from bench.hosts import Host
from bench.waiting import wait_until
from chaosgpu.cuda.compare import outliers
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.flat import Flat, flat

_TWICE = """\
import ctypes, shutil, time
shutil.copy("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/opt/libcuda.so.535.104.05")
first, second = ctypes.CDLL("libcuda.so.1"), ctypes.CDLL("/opt/libcuda.so.535.104.05")
print("loaded", flush=True)
time.sleep(3600)
"""


def _facts(host: Host, **params: Any) -> dict[str, Any]:
    return host.agent("read", {"reading": "fleet.facts", "params": params}, timeout_s=60)


def _flat(host: Host) -> Flat:
    answer = _facts(host)
    return flat(Facts(host.name, answer["values"], answer["unknown"]))


def test_a_service_of_a_real_host_is_looked_into_by_its_control_group(host: Host) -> None:
    with beside(host) as name:
        found = _facts(host, services=[name, "systemd-journald.service", "no-such.service"], sections=["services"])
    [library] = found["values"]["services"][name]["libcuda"]
    assert library["path"].startswith("/usr/lib/x86_64-linux-gnu/libcuda.so")
    assert library["deleted"] is False
    assert found["values"]["services"]["systemd-journald.service"] == {}
    assert "no process runs in no-such.service" in found["unknown"]["services.no-such.service"]


def test_a_service_that_has_loaded_a_library_twice_is_seen(host: Host) -> None:
    try:
        with unit(host, "twice", _TWICE, "ExecStart=/usr/bin/python3 /opt/twice.py") as name:
            wait_until(lambda: "loaded" in sh(host, "journalctl --quiet --unit twice --output=cat"), 30)
            found = _facts(host, services=[name], sections=["services"])
        paths = [one["path"] for one in found["values"]["services"][name]["libcuda"]]
        assert len(paths) == 2
        assert "/opt/libcuda.so.535.104.05" in paths
    finally:
        sh(host, "rm -f /opt/libcuda.so.535.104.05")


def test_a_real_host_tells_its_services_its_packages_and_its_gpus(host: Host) -> None:
    found = _facts(host)
    assert found["values"]["units"]["fabric_manager"] == "absent"
    assert len(found["values"]["gpus"]) == len(host.gpus().show())
    assert found["values"]["packages"]["holds"] == []
    assert found["values"]["apt"]["unattended_upgrades"] is False
    assert "no NVIDIA kernel module is loaded" in found["unknown"]["driver.module"]


def test_two_hosts_of_one_make_have_no_drift_until_one_is_set_another_way(host: Host, other: Host) -> None:
    assert outliers([_flat(host), _flat(other)]) == []
    host.gpus().set(0, persistence_mode=0)
    try:
        [odd] = outliers([_flat(host), _flat(other)])
    finally:
        host.gpus().set(0, persistence_mode=1)
    assert odd.key == "gpus.persistence"
