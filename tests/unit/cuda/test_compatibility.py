# SPDX-License-Identifier: Apache-2.0
"""The compatibility data is dated, sourced and in order, and what it does not know is unknown, never compatible."""

import datetime as dt
import json
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chaosgpu.cuda.compatibility import (
    CudaDriver,
    ExactMatch,
    ForwardCompat,
    MinorVersion,
    PytorchBuild,
    Source,
    TritonImage,
    compatibility,
    read_data,
)
from chaosgpu.cuda.support import Support, driver_supports
from chaosgpu.cuda.versions import numbers

DATA = compatibility()
CUDAS = [entry.cuda for entry in DATA.cuda_drivers]
DRIVERS = sorted({entry.driver for entry in DATA.cuda_drivers} | {"450.80.02", "525", "580"}, key=numbers)
_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_ORDER = [Support.FULL, Support.MINOR, Support.UNKNOWN, Support.NONE]


@pytest.mark.parametrize("kind", [CudaDriver, MinorVersion, ForwardCompat, TritonImage, PytorchBuild, ExactMatch])
def test_every_entry_of_the_data_is_of_its_declared_types(kind: type) -> None:
    data = compatibility()
    lists = (data.cuda_drivers, data.minor_versions, data.forward_compat, data.triton, data.pytorch, data.exact_match)
    [entries] = [entries for entries in lists if isinstance(entries[0], kind)]
    check = TypeAdapter[object](kind).validate_json
    for entry in entries:
        check(json.dumps(asdict(entry)), strict=True)
    with pytest.raises(ValidationError):  # the control: a check that lets anything through says nothing
        check(json.dumps(asdict(entries[0]) | {"source": 1}), strict=True)


def test_every_source_and_meaning_of_the_data_is_of_texts() -> None:
    sources = {name: asdict(one) for name, one in compatibility().sources.items()}
    assert TypeAdapter(dict[str, Source]).validate_json(json.dumps(sources), strict=True)
    assert TypeAdapter(list[dict[str, str]]).validate_python(read_data("meanings")["entries"], strict=True)


def test_every_entry_names_a_source_that_is_there_with_its_evidence() -> None:
    named = [
        *(entry.source for entry in DATA.cuda_drivers),
        *(entry.source for entry in DATA.minor_versions),
        *(entry.source for entry in DATA.forward_compat),
        *(entry.source for entry in DATA.triton),
        *(entry.source for entry in DATA.pytorch),
        *(entry.source for entry in DATA.exact_match),
    ]
    assert len(named) > 70
    assert set(named) == set(DATA.sources)
    assert {source.evidence for source in DATA.sources.values()} <= {"measured", "read", "reported"}
    assert all(source.url.startswith("https://") for source in DATA.sources.values())


def test_the_data_has_a_date_that_is_not_in_the_future() -> None:
    assert dt.date(2026, 1, 1) < DATA.recorded
    assert str(DATA.recorded) in DATA.cited("release-notes")


def test_a_newer_cuda_never_has_an_older_driver() -> None:
    rows = sorted(DATA.cuda_drivers, key=lambda entry: numbers(entry.cuda))
    drivers = [numbers(entry.driver) for entry in rows]
    assert drivers == sorted(drivers)
    assert len({entry.cuda for entry in rows}) == len(rows)


def test_a_newer_release_of_triton_never_has_an_older_cuda_in_the_same_flavour() -> None:
    for flavour in ("trtllm", "vllm"):
        rows = sorted((entry for entry in DATA.triton if entry.flavour == flavour), key=lambda entry: entry.release)
        assert [numbers(row.cuda) for row in rows] == sorted(numbers(row.cuda) for row in rows)


def test_one_release_of_triton_has_two_cudas_by_its_flavour() -> None:
    assert {entry.cuda for entry in DATA.triton if entry.release == "25.10"} == {"12.9.1", "13.0.2"}


@pytest.mark.parametrize(
    ("driver", "cuda", "due"),
    [
        ("580.95.05", "13.0", Support.FULL),
        ("580.95.05", "12.8.1", Support.FULL),
        ("615.61", "11.8.0", Support.FULL),  # newer than the table's upper end: no host fails for that
        ("535.104.05", "12.9.1", Support.MINOR),
        ("580.65.06", "13.3.0", Support.MINOR),
        ("470.82.01", "12.1.0", Support.NONE),
        ("575.57.08", "13.0.0", Support.NONE),
        ("615.61", "14.0", Support.UNKNOWN),
        ("590.44.01", "13.1.5", Support.UNKNOWN),
        ("595.45.04", "13.1.5", Support.FULL),  # made for a newer CUDA than the one asked for
        ("450.80.02", "10.2", Support.UNKNOWN),
    ],
)
def test_a_driver_is_judged_for_a_cuda(driver: str, cuda: str, due: Support) -> None:
    found = driver_supports(DATA, driver, cuda)
    assert found.support is due
    assert cuda in found.why or str(numbers(cuda)[0]) in found.why


def test_the_forward_compatibility_package_counts_on_the_branches_that_are_listed() -> None:
    package = {"12.9": "575.57.08"}
    assert driver_supports(DATA, "535.104.05", "12.9.1", package).support is Support.FORWARD
    assert driver_supports(DATA, "550.54.15", "12.9.1", package).support is Support.MINOR  # a branch not listed
    assert driver_supports(DATA, "535.104.05", "12.8.1", package).support is Support.MINOR  # of another CUDA


def test_the_forward_compatibility_package_never_counts_under_a_newer_driver() -> None:
    assert driver_supports(DATA, "570.124.06", "13.0.2", {"13.0": "570.10"}).support is Support.NONE
    assert driver_supports(DATA, "570.124.06", "13.0.2", {"13.0": "580.95.05"}).support is Support.FORWARD


@_SETTINGS
@given(st.sampled_from(CUDAS), st.sampled_from(DRIVERS), st.sampled_from(DRIVERS))
def test_a_newer_driver_never_supports_less(cuda: str, one: str, other: str) -> None:
    older, newer = sorted((one, other), key=numbers)
    ranks = [_ORDER.index(driver_supports(DATA, driver, cuda).support) for driver in (older, newer)]
    assert ranks[1] <= ranks[0]


@_SETTINGS
@given(st.integers(14, 99), st.sampled_from(DRIVERS))
def test_a_cuda_that_is_newer_than_the_data_is_unknown(major: int, driver: str) -> None:
    assert driver_supports(DATA, driver, f"{major}.0").support is Support.UNKNOWN
