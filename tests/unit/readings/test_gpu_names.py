# SPDX-License-Identifier: Apache-2.0
"""A GPU is named by UUID or PCI bus id; whatever else is named gets one sentence."""

import pytest

from chaosgpu.agent.errors import BadRequest, DriverFailed
from unit.readings.conftest import MakeDriver, MakeGpus, uuid_of


@pytest.mark.parametrize("written", ["00000000:43:00.0", "0000:43:00.0", "43:00.0", "0000:43:00", "43:00"])
def test_a_pci_bus_id_finds_its_gpu_however_it_is_written(
    written: str, make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    gpus = make_gpus()
    found = make_driver(gpus).call("find_gpu", written)
    assert found == {
        "uuid": uuid_of(gpus, 1),
        "pci_bus_id": "00000000:43:00.0",
        "index": 1,
        "name": "NVIDIA H100 80GB HBM3",
    }


def test_an_index_is_refused_with_the_names_to_use(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    with pytest.raises(BadRequest, match=r"by UUID or PCI bus id, not by index 1: indices change") as caught:
        make_driver(gpus).call("find_gpu", "1")
    assert f"{uuid_of(gpus, 1)} at 00000000:43:00.0" in str(caught.value)


def test_an_index_is_taken_where_the_request_allows_it(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    found = make_driver(gpus).call("find_gpu", "1", True)  # noqa: FBT003 (JSON)
    assert isinstance(found, dict)
    assert found["uuid"] == uuid_of(gpus, 1)


@pytest.mark.parametrize(
    ("name", "allow_index", "sentence"),
    [
        ("GPU-00000000-0000-0000-0000-000000000000", False, r"There is no GPU GPU-0+.* on this host; here they are:"),
        ("0000:ff:00.0", False, r"There is no GPU at PCI bus id 0000:ff:00\.0"),
        ("7", True, r"There is no GPU with index 7"),
        ("MIG-5c0ffee0", False, r"is a MIG instance; name the whole GPU"),
        ("cuda:0", False, r"'cuda:0' is neither a GPU's UUID"),
        ("", False, r"is neither a GPU's UUID"),
    ],
)
def test_a_name_that_is_no_gpu_gets_a_sentence(
    name: str, allow_index: bool, sentence: str, make_gpus: MakeGpus, make_driver: MakeDriver
) -> None:
    with pytest.raises(BadRequest, match=sentence):
        make_driver(make_gpus()).call("find_gpu", name, allow_index)


def test_a_lost_gpu_is_listed_as_one_that_does_not_answer(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    gpus.inject("lost", 1)
    found = make_driver(gpus).call("list_gpus")
    assert isinstance(found, list)
    assert [isinstance(gpu, dict) and gpu.get("code") for gpu in found] == [None, 15]


def test_a_lost_gpu_fails_with_its_own_code(make_gpus: MakeGpus, make_driver: MakeDriver) -> None:
    gpus = make_gpus()
    name = uuid_of(gpus)
    gpus.inject("lost", 0)
    with pytest.raises(DriverFailed, match=r"15 .*fallen off the bus") as caught:
        make_driver(gpus).call("used_mib", name)
    assert caught.value.code == 15
