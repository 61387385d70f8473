# SPDX-License-Identifier: Apache-2.0
"""What is left on GPUs is found through the real driver call, and only there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.residue.finding import families
from chaosgpu.agent.residue.look import Residue, look
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import (  # the simulated GPUs and drivers of the readings' tests
    MakeDriver,
    MakeGpus,
    holding,
    make_driver,
    make_gpus,
    uuid_of,
)
from unit.residue.conftest import MakeScene

__all__ = ["make_driver", "make_gpus"]

_GPUS = [one for one in families() if one.name == "gpus"]
SETTINGS: list[tuple[str, dict[str, int], str]] = [
    ("gpu.power_limit", {"power_limit_mw": 300_000}, "h100"),
    ("gpu.clocks", {"sm_lock_min_mhz": 600, "sm_lock_max_mhz": 900}, "h100"),
    ("gpu.compute_mode", {"compute_mode": 3}, "h100"),
    ("gpu.persistence", {"persistence_mode": 0}, "h100"),
    ("gpu.ecc_pending", {"ecc_pending": 0}, "h100"),
    ("gpu.mig_pending", {"mig_pending": 1}, "h100"),
    ("gpu.remap_pending", {"remap_pending": 1}, "h100"),
    ("gpu.remap_failed", {"remap_failure": 1}, "a100"),
    ("gpu.retire_pending", {"retired_pending": 1}, "t4"),
    ("gpu.recovery_asked", {"recovery_action": 1}, "h100"),
]

type Look = Callable[..., Residue]


@pytest.fixture
def looked(make_scene: MakeScene, make_driver: MakeDriver) -> Look:
    def take(gpus: Instance, **files: Any) -> Residue:
        return look(make_scene(new_driver=lambda: make_driver(gpus), **files), known=_GPUS)

    return take


@pytest.mark.parametrize("profile", ["h100", "a100", "l40s", "t4", "geforce"])
def test_gpus_as_they_come_have_no_residue(profile: str, make_gpus: MakeGpus, looked: Look) -> None:
    assert looked(make_gpus(profile)).findings == ()


@pytest.mark.parametrize(("kind", "fields", "profile"), SETTINGS, ids=[kind for kind, _, _ in SETTINGS])
def test_a_setting_that_was_left_is_found_on_its_gpu(
    kind: str, fields: dict[str, int], profile: str, make_gpus: MakeGpus, looked: Look
) -> None:
    gpus = make_gpus(profile)
    gpus.set(1, **fields)
    [finding] = looked(gpus).findings
    assert (finding.kind, finding.where, finding.owner) == (kind, uuid_of(gpus, 1), "unknown")


def test_a_silent_gpu_is_found_and_the_others_are_still_looked_at(make_gpus: MakeGpus, looked: Look) -> None:
    gpus = make_gpus(gpus=3)
    gpus.inject("lost", 1)
    gpus.set(2, compute_mode=2)
    assert {finding.kind for finding in looked(gpus).findings} == {"gpu.silent", "gpu.compute_mode"}


def test_a_library_that_does_not_fit_the_module_is_found_and_the_gpus_are_unknown(
    make_gpus: MakeGpus, looked: Look
) -> None:
    gpus = make_gpus()
    gpus.inject("version_mismatch")
    found = looked(gpus)
    assert [finding.kind for finding in found.findings] == ["driver.versions_differ"]
    assert "no GPU can be asked" in found.unknown["gpus"][0]


def test_a_driver_that_hangs_is_unknown_and_not_clean(
    make_gpus: MakeGpus, make_driver: MakeDriver, make_scene: MakeScene
) -> None:
    gpus = make_gpus()
    gpus.inject("hang", function="nvmlDeviceGetEccMode", hang_s=60)
    scene = make_scene(new_driver=lambda: make_driver(gpus, 0.3, 1.0))
    found = look(scene, known=_GPUS)
    assert found.findings == ()
    assert "did not come back within" in found.unknown["gpus"][0]


_STAT = "{pid} (python3) S {parent} {pid} {pid} 0 -1 4194560 " + "0 " * 30


def _as_process(pid: int, parent: int, group: str) -> dict[str, str]:
    return {
        f"/proc/{pid}/stat": _STAT.format(pid=pid, parent=parent),
        f"/proc/{pid}/cmdline": "python3\0train.py\0",
        f"/proc/{pid}/environ": "",
        f"/proc/{pid}/cgroup": f"0::{group}\n",
    }


def test_memory_of_a_process_that_is_not_there_is_found(make_gpus: MakeGpus, looked: Look, tmp_path: Path) -> None:
    gpus = make_gpus()
    proc = tmp_path / "root/proc/self/ns"
    proc.mkdir(parents=True)
    (proc / "pid").symlink_to("pid:[4026531836]")
    with holding(gpus, uuid_of(gpus), 1000) as holder:
        [finding] = looked(gpus).findings
        assert (finding.kind, finding.owner) == ("gpu.memory_of_nobody", "foreign")
        assert str(holder.pid) in finding.where


@pytest.mark.parametrize(
    ("where", "kinds"),
    [
        ((1, "/user.slice/user-1000.slice/session-4.scope"), {"gpu.memory_left_behind"}),
        ((1, "/system.slice/triton.service"), set()),
        ((77, "/user.slice/user-1000.slice/session-4.scope"), set()),
    ],
)
def test_memory_of_a_process_whose_session_is_gone_is_found_and_a_services_is_not(
    where: tuple[int, str], kinds: set[str], make_gpus: MakeGpus, looked: Look
) -> None:
    gpus = make_gpus()
    with holding(gpus, uuid_of(gpus), 1000) as holder:
        files = _as_process(holder.pid, *where)
        assert {finding.kind for finding in looked(gpus, files=files).findings} == kinds
