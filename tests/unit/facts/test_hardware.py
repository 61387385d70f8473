# SPDX-License-Identifier: Apache-2.0
"""GPUs by NVML, network devices by their driver, and services by systemd: what each tells, and why it does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.agent.errors import Refused
from chaosgpu.agent.facts.gpus import gpus
from chaosgpu.agent.facts.nics import ask_driver, nics
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.facts.units import only_to_ask, units
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.sim.instance import Instance
from support.host_tree import write
from unit.readings.conftest import MakeGpus, make_driver, make_gpus, make_tools, uuid_of

__all__ = ["make_driver", "make_gpus", "make_tools"]  # fixtures

type MakeTools = Callable[[Instance], Tools]


def test_every_gpu_tells_what_it_is_and_how_it_is_set(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    instance = make_gpus("h100")
    found = gpus(make_tools(instance))
    assert set(found.values) == {uuid_of(instance, 0), uuid_of(instance, 1)}
    one = found.values[uuid_of(instance, 0)]
    assert isinstance(one, dict)
    shown = instance.show()[0]
    assert one["product"] == shown["identity"]["name"]
    assert one["vbios"] == shown["identity"]["vbios_version"]
    assert one["compute_capability"] == "9.0"
    assert (one["persistence"], one["ecc"], one["mig"]) == (True, True, False)
    assert one["power_limit_watts"] == one["default_power_limit_watts"]


def test_a_changed_setting_shows(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    instance = make_gpus("h100")
    instance.set(1, power_limit_mw=400_000, persistence_mode=0)
    found = gpus(make_tools(instance))
    first, second = (found.values[uuid_of(instance, index)] for index in (0, 1))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert second["power_limit_watts"] == 400.0 != first["power_limit_watts"]
    assert (first["persistence"], second["persistence"]) == (True, False)


def test_what_a_driver_cannot_tell_is_unknown_with_the_reason(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    instance = make_gpus("t4", 1)
    found = gpus(make_tools(instance))
    uuid = uuid_of(instance)
    assert "does not offer it" in str(found.unknown[f"{uuid}.mig"])
    assert "NVML" in str(found.unknown[f"{uuid}.inforom_image"])  # the simulated driver does not have it


def test_a_lost_gpu_is_unknown_and_the_others_are_read(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    instance = make_gpus("h100")
    lost = uuid_of(instance, 0)
    instance.inject("lost", gpu=0)
    found = gpus(make_tools(instance))
    assert lost not in found.values
    assert found.unknown
    assert uuid_of(instance, 1) in found.values


def test_no_driver_is_unknown_and_not_no_gpu(make_gpus: MakeGpus, make_tools: MakeTools) -> None:
    instance = make_gpus("h100")
    instance.inject("driver_unloaded")
    found = gpus(make_tools(instance))
    assert found.values == {}
    assert "modprobe nvidia" in str(found.unknown["*"])


def test_each_real_network_device_has_its_driver_or_a_reason() -> None:
    found = nics(Tree())
    hardware = [one.name for one in Path("/sys/class/net").iterdir() if (one / "device").exists()]
    assert set(hardware) <= set(found.values) | set(found.unknown)
    for name in hardware:
        entry = found.values.get(name)
        driver = Path(f"/sys/class/net/{name}/device/driver")
        if isinstance(entry, dict) and driver.exists():
            assert str(entry["driver"]).replace("_", "-") in driver.resolve().name.replace("_", "-")


def test_a_device_without_hardware_behind_it_tells_no_firmware() -> None:
    with pytest.raises(UnknownFact, match="the driver of lo does not tell its firmware"):
        ask_driver("lo")


def test_firmware_and_boards_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/sys/class/net/eth0/device/vendor": "0x15b3",
            "/sys/class/net/eth1/device/vendor": "0x1af4",
            "/sys/class/net/lo/mtu": "65536",
            "/sys/class/infiniband/mlx5_0/fw_ver": "28.39.1002\n",
            "/sys/class/infiniband/mlx5_1/board_id": "MT_0000000838\n",
        },
    )
    told = {"eth0": ("mlx5_core", "28.39.1002 (MT_0000000838)"), "eth1": ("virtio_net", "")}
    found = nics(Tree(str(tmp_path)), told.__getitem__)
    assert found.values == {
        "eth0": {"driver": "mlx5_core", "firmware": "28.39.1002 (MT_0000000838)"},
        "eth1": {"driver": "virtio_net"},
        "mlx5_0": {"firmware": "28.39.1002"},
        "mlx5_1": {"board": "MT_0000000838"},
    }
    assert set(found.unknown) == {"eth1.firmware", "mlx5_0.board", "mlx5_1.firmware"}


def test_a_tree_of_files_has_no_driver_to_ask(tmp_path: Path) -> None:
    write(tmp_path, {"/sys/class/net/eth0/device/vendor": "0x15b3"})
    assert "only be asked on the host itself" in str(nics(Tree(str(tmp_path))).unknown["eth0"])


class _Told(Systemd):
    """systemd as it answers, or does not."""

    def ask(self, *words: str, within_s: float | None = None) -> str:  # noqa: ARG002 (the seam)
        assert words[0] == "show"
        if self.systemctl == "hangs":
            raise Refused("`systemctl show` did not answer within 5 s.")
        return (
            "Id=nvidia-fabricmanager.service\nLoadState=loaded\nActiveState=active\n\n"
            "Id=nvidia-persistenced.service\nLoadState=not-found\nActiveState=inactive\n\n"
            "Id=apt-daily-upgrade.timer\nLoadState=masked\nActiveState=inactive\n"
        )


class _OfRpm(Systemd):
    """systemd of a host of RPM packages: apt's timer is not there, and an alias is told by its own name."""

    def ask(self, *words: str, within_s: float | None = None) -> str:  # noqa: ARG002 (the seam)
        state = "active" if "dnf-automatic-install.timer" in words else "inactive"
        return (
            "Id=apt-daily-upgrade.timer\nLoadState=not-found\nActiveState=inactive\n\n"
            "Id=dnf5-automatic.timer\nLoadState=loaded\nActiveState=inactive\n\n"
            f"Id=dnf-automatic-install.timer\nLoadState=loaded\nActiveState={state}\n"
        )


def test_services_are_active_absent_or_unknown() -> None:
    found = units(_Told("systemctl", "systemd-run", 252))
    assert found.values == {"fabric_manager": "active", "persistence_daemon": "absent", "upgrade_timer": "inactive"}
    assert found.unknown == {"dcgm": "systemd did not tell it"}


def test_of_the_timers_of_several_kinds_of_hosts_the_one_that_runs_is_told() -> None:
    assert units(_OfRpm("systemctl", "systemd-run", 252)).values == {"upgrade_timer": "active"}


def test_a_systemd_that_is_not_there_or_does_not_answer_is_unknown() -> None:
    assert set(units(None).unknown) == {"fabric_manager", "persistence_daemon", "dcgm", "upgrade_timer"}
    assert "did not answer within 5 s" in str(units(_Told("hangs", "", 252)).unknown["dcgm"])


def test_states_are_asked_without_a_question_for_the_version_only_where_systemd_is_pid_1(tmp_path: Path) -> None:
    (tmp_path / "systemctl").touch(0o700)
    (tmp_path / "empty").mkdir()
    here, nowhere, programs = str(tmp_path), str(tmp_path / "gone"), [str(tmp_path / "empty"), str(tmp_path)]
    found = only_to_ask(find_systemd, here, programs)
    assert found is not None
    assert (found.systemctl, found.systemd_run) == (f"{tmp_path}/systemctl", "")
    assert only_to_ask(find_systemd, nowhere, programs) is None
    assert only_to_ask(find_systemd, here, programs[:1]) is None
    told = _Told("systemctl", "", 252)
    assert only_to_ask(lambda: told, nowhere, []) is told, "another way to find it is left alone"
