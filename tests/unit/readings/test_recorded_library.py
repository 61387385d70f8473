# SPDX-License-Identifier: Apache-2.0
"""Undo from another environment: the recorded library and GPUs, or a refusal."""

import shutil
from pathlib import Path

import pytest

from chaosgpu.agent import library
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.values import JsonObject
from chaosgpu.sim.instance import Instance
from unit.readings.conftest import MakeDriver, MakeGpus, uuid_of


def recorded(gpus: Instance, make_driver: MakeDriver) -> JsonObject:
    found = make_driver(gpus).call("library_in_use")
    assert isinstance(found, dict)
    return found


def test_the_library_in_use_is_found_with_path_digest_and_instance(
    make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    gpus = make_gpus()
    found = recorded(gpus, make_driver)
    path = gpus.libraries / "lib" / "libnvidia-ml.so.1"
    instance = gpus.document()["system"]["identity"]["instance"]
    assert found == {"path": str(path), "sha256": library.file_sha256(str(path)), "simulator": instance}


def test_the_recorded_library_is_found_without_a_library_path(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    record = recorded(gpus, make_driver)
    driver = ForkedDriver({"CHAOSGPU_SIM_STATE": str(gpus.state)}, record)
    try:
        assert driver.call("library_in_use") == record
        assert driver.call("used_mib", uuid_of(gpus)) == 0.0
    finally:
        driver.close()


def test_a_library_that_was_replaced_is_refused(make_gpus: MakeGpus, make_driver: MakeDriver, tmp_path: Path) -> None:
    gpus = make_gpus()
    record = recorded(gpus, make_driver)
    copy = tmp_path / "libnvidia-ml.so.1"
    shutil.copy(str(record["path"]), copy)
    with copy.open("ab") as file:
        file.write(b"another build")
    _refused(gpus, {**record, "path": str(copy)}, r"is not the one that this lease was made with.*by hand")


def test_a_library_that_was_removed_is_refused(make_gpus: MakeGpus, make_driver: MakeDriver, tmp_path: Path) -> None:
    gpus = make_gpus()
    record = recorded(gpus, make_driver)
    _refused(gpus, {**record, "path": str(tmp_path / "gone.so.1")}, r"cannot be read \(No such file")


def test_other_simulated_gpus_than_recorded_are_refused(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    record = recorded(make_gpus(seed=1), make_driver)
    others = make_gpus(seed=2)
    assert make_driver(others).call("used_mib", uuid_of(others)) == 0.0  # control: without a record it would be touched
    _refused(others, record, r"this lease was made on the simulated GPUs of instance sim-.*Nothing was")


def test_simulated_gpus_where_real_ones_were_recorded_are_refused(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    record = recorded(gpus, make_driver)
    _refused(gpus, {**record, "simulator": None}, r"shows the simulated GPUs .* made on real GPUs")


def _refused(gpus: Instance, record: JsonObject, sentence: str) -> None:
    driver = ForkedDriver({"CHAOSGPU_SIM_STATE": str(gpus.state)}, record)
    try:
        with pytest.raises(DriverFailed, match=sentence) as caught:
            driver.call("used_mib", uuid_of(gpus))
        assert caught.value.kind == "driver"
        with pytest.raises(DriverFailed, match=sentence):  # and it stays refused
            driver.call("used_mib", uuid_of(gpus))
    finally:
        driver.close()
