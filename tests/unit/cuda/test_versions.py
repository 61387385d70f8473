# SPDX-License-Identifier: Apache-2.0
"""Versions are ordered as dpkg orders them, and drivers by their numbers."""

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosgpu.cuda.versions import DebianVersion, numbers, upstream
from chaosgpu.errors import BadArgument

# From few signs, so that two of them are often alike at the beginning; dpkg wants a digit first.
_SOME = st.text("019.+~ab", max_size=6)
DEBIAN = st.builds(
    lambda epoch, first, rest, revision: f"{epoch}{first}{rest}{revision}",
    st.sampled_from(["", "0:", "1:"]),
    st.sampled_from("0159"),
    _SOME,
    st.builds(lambda text: f"-{text}" if text else "", _SOME),
)
DRIVER = st.lists(st.integers(0, 999), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _dpkg_says(one: str, relation: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False, timeout=20).returncode == 0


@_SETTINGS
@given(DEBIAN, DEBIAN)
def test_two_package_versions_are_ordered_as_dpkg_orders_them(one: str, other: str) -> None:
    mine = DebianVersion(one), DebianVersion(other)
    relation = "lt" if mine[0] < mine[1] else "eq" if mine[0] == mine[1] else "gt"
    assert _dpkg_says(one, relation, other)


@_SETTINGS
@given(st.lists(DEBIAN, min_size=3, max_size=3))
def test_the_order_of_package_versions_has_no_circles(texts: list[str]) -> None:
    low, middle, high = sorted(DebianVersion(text) for text in texts)
    assert low <= middle <= high
    assert low <= high
    assert not high < low


@_SETTINGS
@given(DEBIAN, DEBIAN)
def test_equal_package_versions_have_one_hash(one: str, other: str) -> None:
    mine = DebianVersion(one), DebianVersion(other)
    assert (mine[0] == mine[1]) <= (hash(mine[0]) == hash(mine[1]))


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("580.82.07-0ubuntu1", "580.95.05-0ubuntu1"),
        ("580.95.05-0ubuntu1", "580.95.05-0ubuntu1.22.04.1"),
        ("580.95.05-1", "1:570.26-1"),
        ("590.44.01~rc1-1", "590.44.01-1"),
        ("2.25.1-1+cuda12.8", "2.25.1-1+cuda12.9"),
    ],
)
def test_versions_as_the_driver_has_them_are_in_order(lower: str, higher: str) -> None:
    assert DebianVersion(lower) < DebianVersion(higher)


@_SETTINGS
@given(DRIVER, DRIVER)
def test_driver_versions_are_ordered_by_their_numbers_and_not_by_their_letters(one: str, other: str) -> None:
    padded = [[*map(int, text.split(".")), 0, 0, 0, 0][:4] for text in (one, other)]
    assert (numbers(one) < numbers(other)) == (padded[0] < padded[1])


def test_a_version_with_zeros_at_its_end_is_the_same_version() -> None:
    assert numbers("12.8") == numbers("12.8.0")
    assert numbers("575.51.03") > numbers("575.9")


@pytest.mark.parametrize("text", ["", "580.", "580.95.05-1", "v12", "12.x"])
def test_what_is_no_version_is_refused_and_not_guessed(text: str) -> None:
    with pytest.raises(BadArgument, match="no version"):
        numbers(text)


@pytest.mark.parametrize(
    ("package", "driver"),
    [
        ("580.95.05-0ubuntu1", "580.95.05"),
        ("1:535.261.03-1~deb12u1", "535.261.03"),
        ("590.44.01-1", "590.44.01"),
        ("3:580.95.05-1.el9_6", "580.95.05"),
    ],
)
def test_the_drivers_version_is_found_in_that_of_its_package(package: str, driver: str) -> None:
    assert upstream(package) == driver


def test_a_package_version_without_a_number_in_front_names_no_driver() -> None:
    with pytest.raises(BadArgument, match="does not begin"):
        upstream("git20250101-1")
