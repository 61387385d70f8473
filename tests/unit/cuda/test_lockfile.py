# SPDX-License-Identifier: Apache-2.0
"""A lock file says what is wrong in it, where, and what was meant; what is right in it comes back as it was written."""

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosgpu.cuda import lockfile
from chaosgpu.cuda.flat import Value, flat
from chaosgpu.cuda.lock import Lock, Locked, flat_lock
from chaosgpu.cuda.unflat import nested
from chaosgpu.errors import BadArgument
from support.drift_facts import host

GOOD = """\
version: 1
recorded: 2026-11-26
groups:
  h100:
    hosts: [gpu01, gpu02]
    locked:
      driver: {module: 580.95.05, library: 580.95.05}
      gpus: {count: 8, ecc: true, power_limit_watts: 700.0}
exceptions:
  gpu02: {why: a spare board, until: 2027-01-31, locked: {gpus: {vbios: 96.00.74.00.01}}}
"""

# What is replaced in the good file, by what, and what the sentence must say.
BROKEN = [
    ("module:", "modul:", ["groups.h100.locked.driver has no key 'modul'", "did you mean 'module'?"]),
    ("groups:", "grups:", ["the file has no key 'grups'; did you mean 'groups'?", "lacks the key 'groups'"]),
    ("locked:\n", "lokced:\n", ["did you mean 'locked'?"]),
    ("ecc: true", "eccc: true", ["groups.h100.locked.gpus has no key 'eccc'; did you mean 'ecc'?"]),
    ("vbios: 96.00.74.00.01", "bios: x", ["exceptions.gpu02.locked.gpus has no key 'bios'; did you mean 'vbios'?"]),
    ("module: 580.95.05", "module: 580.95", ["driver.module must be a text: write it in quotes, as '580.95'"]),
    ("count: 8", "count: eight", ["groups.h100.locked.gpus.count is 'eight'", "valid integer"]),
    ("ecc: true", "ecc: perhaps", ["gpus.ecc is 'perhaps'", "boolean"]),
    ("version: 1", "version: 2", ["version is 2"]),
    ("recorded: 2026-11-26\n", "", ["the file lacks the key 'recorded'"]),
    ("[gpu01, gpu02]", "[]", ["groups.h100.hosts is []"]),
    ("why: a spare board, ", "", ["exceptions.gpu02 lacks the key 'why'"]),
    ("  gpu02: {why", "  gpu03: {why", ["an exception for gpu03, which is in no group; did you mean"]),
    ("exceptions:\n", "  a100: {hosts: [gpu01], locked: {}}\nexceptions:\n", ["gpu01 is in h100 and in a100"]),
    ("count: 8", "count: 8, count: 4", ["the key 'count' is there twice"]),
    ("version: 1", "version: [", ["is no YAML"]),
    (GOOD, "just a text", ["is no lock file"]),
    (GOOD, "", ["is no lock file"]),
]


def test_a_good_lock_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(GOOD)
    lock = lockfile.read(path)
    assert flat_lock(lock.groups["h100"].locked) == {
        "driver.module": "580.95.05",
        "driver.library": "580.95.05",
        "gpus.count": 8,
        "gpus.ecc": True,
        "gpus.power_limit_watts": 700.0,
    }
    assert lock.exceptions["gpu02"].until == dt.date(2027, 1, 31)


@pytest.mark.parametrize(("good", "bad", "said"), BROKEN, ids=[case[2][0][:40] for case in BROKEN])
def test_what_is_wrong_is_said_with_its_place(good: str, bad: str, said: list[str]) -> None:
    assert good in GOOD
    with pytest.raises(BadArgument) as error:
        lockfile.parse(GOOD.replace(good, bad, 1), "fleet.lock.yaml")
    assert str(error.value).startswith(("fleet.lock.yaml", "The lock file fleet.lock.yaml cannot be used"))
    for words in said:
        assert words in str(error.value)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadArgument) as error:
        lockfile.parse(GOOD.replace("module:", "modul:").replace("count: 8", "count: eight"), "lock.yaml")
    assert len(str(error.value).splitlines()) == 3


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="could not be read: No such file"):
        lockfile.read(tmp_path / "no.yaml")


def test_a_lock_file_is_not_written_over_another_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "lock.yaml"
    lock = lockfile.parse(GOOD, "x")
    lockfile.write(path, lock, anew=False)
    with pytest.raises(BadArgument, match="is there already"):
        lockfile.write(path, lock, anew=False)
    lockfile.write(path, lock, anew=True)
    assert lockfile.read(path) == lock


def test_every_value_of_a_host_can_be_locked_and_comes_back_the_same(tmp_path: Path) -> None:
    values = dict(flat(host()).values)
    locked = Locked.model_validate(nested(values))
    assert flat_lock(locked) == values
    lock = Lock.model_validate(
        {"version": 1, "recorded": dt.date(2026, 11, 26), "groups": {"all": {"hosts": ["a"], "locked": nested(values)}}}
    )
    path = tmp_path / "lock.yaml"
    lockfile.write(path, lock, anew=False)
    assert flat_lock(lockfile.read(path).groups["all"].locked) == values


# Names as units, paths, packages and containers have them, dots and all.
_NAME = st.from_regex(r"[a-z/][a-z0-9.+/_-]{0,12}[a-z0-9]", fullmatch=True).filter(
    lambda text: ".packages." not in text
)
_KEY = st.one_of(
    _NAME.map(lambda name: f"packages.{name}"),
    _NAME.map(lambda name: f"images.{name}"),
    _NAME.map(lambda name: f"engines.{name}.tensorrt"),
    _NAME.map(lambda name: f"environments.{name}.python"),
    st.builds(lambda name, package: f"environments.{name}.packages.{package}", _NAME, _NAME),
    _NAME.map(lambda name: f"nics.{name}.firmware"),
)
_VERSION = st.from_regex(r"[0-9][0-9.:~+-]{0,10}", fullmatch=True)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEY, _VERSION, max_size=8))
def test_any_names_and_versions_survive_the_file(values: dict[str, Value]) -> None:
    lock = Lock.model_validate(
        {"version": 1, "recorded": dt.date(2026, 11, 26), "groups": {"all": {"hosts": ["a"], "locked": nested(values)}}}
    )
    back = lockfile.parse(lockfile.dump(lock), "x")
    assert flat_lock(back.groups["all"].locked) == values
