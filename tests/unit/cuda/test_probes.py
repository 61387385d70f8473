# SPDX-License-Identifier: Apache-2.0
"""The probes of drift: true, false, or a sentence that says why it cannot be known; tolerances never raise."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaosgpu.cli.main import main
from chaosgpu.cuda import probes, tolerances
from chaosgpu.cuda.facts import Facts
from chaosgpu.errors import AgentFailed, BadArgument, ReadingUnknown
from chaosgpu.fleet.ask import use_transport
from chaosgpu.fleet.transports.memory import MemoryTransport
from chaosgpu.fleet.values import JsonObject, JsonValue, objects
from support.drift_facts import DRIVER, host

_TWO: JsonValue = [
    {"path": "/opt/v/libcusparse.so.12", "version": "12.5.10.65", "deleted": False},
    {"path": "/usr/local/cuda/lib64/libcusparse.so.12.5.4.2", "version": "12.5.4.2", "deleted": False},
]


def _agent(facts: Facts) -> MemoryTransport:
    def answer(verb: str, request: JsonObject) -> JsonObject:  # noqa: ARG001 (the seam)
        unknown: JsonObject = dict(facts.unknown)
        return {"protocol": 1, "values": facts.values, "unknown": unknown}

    return MemoryTransport(answer)


@pytest.fixture
def lock(tmp_path: Path) -> str:
    path = tmp_path / "fleet.lock.yaml"
    with use_transport(_agent(host("localhost"))):
        assert main(["drift", "baseline", "--service", "triton.service", "--output", str(path)]) == 0
    return str(path)


def test_a_host_as_it_was_is_free_of_drift(lock: str) -> None:
    with use_transport(_agent(host("localhost"))):
        assert probes.drift_free(lock) is True
        assert probes.drift_report(lock) == {"differences": [], "findings": [], "unread": []}


def test_a_host_that_differs_is_not_and_the_log_says_in_what(lock: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "chaostoolkit")
    with use_transport(_agent(host("localhost", {"driver/flavour": "proprietary"}))):
        assert probes.drift_free(lock) is False
        [difference] = objects(probes.drift_report(lock), "differences")
    assert difference["key"] == "driver.flavour"
    assert "driver.flavour: locked open, found proprietary" in caplog.text


def test_a_locked_value_that_cannot_be_read_is_neither(lock: str) -> None:
    blind = host("localhost", {"kernel/release": None}, kernel__release="may not be read by this user")
    with use_transport(_agent(blind)), pytest.raises(ReadingUnknown, match=r"kernel\.release: may not be read"):
        probes.drift_free(lock)


def test_a_lock_file_that_is_not_there_is_a_wrong_argument() -> None:
    with pytest.raises(BadArgument, match="could not be read"):
        probes.drift_free("/no/such/lock.yaml")


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, True),
        ({"driver/module": "580.82.07"}, False),
        ({"driver/library": "580.82.07"}, False),
        ({"driver/nvml_library": "580.82.07"}, False),
        ({"driver/package": "580.105.08-0ubuntu1"}, False),
    ],
)
def test_module_libraries_and_package_are_one_version_or_not(changes: dict[str, JsonValue], due: bool) -> None:
    transport = _agent(host("localhost", changes))
    with use_transport(transport):
        assert probes.versions_match() is due
    assert transport.asked[0][1]["params"] == {"sections": ["driver"]}


def test_a_driver_without_packages_is_judged_by_module_and_library() -> None:
    bare = host(
        "localhost", {"driver/package": None}, driver__package="no package of the driver is installed: another way"
    )
    with use_transport(_agent(bare)):
        assert probes.versions_match() is True


@pytest.mark.parametrize("name", ["module", "library", "package"])
def test_a_version_that_cannot_be_read_matches_nothing(name: str) -> None:
    unknown = {f"driver__{name}": "may not be read by this user"}
    blind = host("localhost", {f"driver/{name}": None}, **unknown)
    with use_transport(_agent(blind)), pytest.raises(ReadingUnknown, match="may not be read by this user"):
        probes.versions_match()


@pytest.mark.parametrize(
    ("cuda", "least", "due"),
    [("13.0.2", "full", True), ("13.1.0", "full", False), ("13.1.0", "minor", True), ("12.4", "full", True)],
)
def test_the_driver_supports_a_cuda_as_well_as_is_asked_for(cuda: str, least: str, due: bool) -> None:
    with use_transport(_agent(host("localhost"))):
        assert probes.driver_supports_cuda(cuda, least) is due


def test_the_forward_compatibility_package_is_the_least_that_may_be_asked_for() -> None:
    old: dict[str, JsonValue] = {"driver/module": "535.104.05", "cuda/forward_compat": {"13.0": "580.95.05"}}
    with use_transport(_agent(host("localhost", old))):
        assert probes.cuda_support("13.0.2")["support"] == "forward"
        assert probes.driver_supports_cuda("13.0.2", "forward") is True
        assert probes.driver_supports_cuda("13.0.2", "minor") is False


def test_a_cuda_that_the_data_does_not_know_is_unknown() -> None:
    with use_transport(_agent(host("localhost"))):
        assert probes.cuda_support("14.1")["support"] == "unknown"
        with pytest.raises(ReadingUnknown, match=r"CUDA 14\.1 is unknown: the data .* knows no CUDA 14"):
            probes.driver_supports_cuda("14.1")


@pytest.mark.parametrize("least", ["best", "unknown", "none", ""])
def test_a_support_that_is_none_cannot_be_asked_for(least: str) -> None:
    with pytest.raises(BadArgument, match="least must be full or minor or forward"):
        probes.driver_supports_cuda("12.9", least)


def test_a_library_that_is_loaded_from_two_files_is_seen(caplog: pytest.LogCaptureFixture) -> None:
    with use_transport(_agent(host("localhost"))):
        assert probes.library_loaded_once("triton.service", "libcusparse") is True
    with use_transport(_agent(host("localhost", {"services|triton.service|libcusparse": _TWO}))):
        assert probes.library_loaded_once("triton.service", "libcusparse") is False
        assert probes.loaded_libraries("triton.service")["libcusparse"] == _TWO
    assert "/usr/local/cuda/lib64/libcusparse.so.12.5.4.2 (12.5.4.2)" in caplog.text


def test_a_library_that_is_not_loaded_at_all_is_unknown() -> None:
    with (
        use_transport(_agent(host("localhost"))),
        pytest.raises(ReadingUnknown, match="has not loaded libnccl; it has"),
    ):
        probes.library_loaded_once("triton.service", "libnccl")


def test_a_service_that_cannot_be_looked_into_is_unknown() -> None:
    blind = host("localhost", {"services": {}}, services__vllm__service="no process runs in vllm.service")
    with use_transport(_agent(blind)), pytest.raises(ReadingUnknown, match="no process runs in vllm"):
        probes.library_loaded_once("vllm.service", "libcusparse")


@pytest.mark.parametrize(
    "call",
    [
        lambda: probes.library_loaded_once("triton", "libcusparse"),
        lambda: probes.library_loaded_once("*.service", "libcusparse"),
        lambda: probes.library_loaded_once("triton.service", "cusparse"),
        lambda: probes.driver_supports_cuda("twelve"),
        lambda: probes.cuda_support("12.9", hosts=""),
        lambda: probes.versions_match(timeout_s=0),
        lambda: probes.drift_free(""),
    ],
)
def test_a_wrong_value_is_refused_before_a_host_is_asked(call: Callable[[], object]) -> None:
    transport = _agent(host("localhost"))
    with use_transport(transport), pytest.raises(BadArgument):
        call()
    assert transport.asked == []


def test_an_agent_without_this_reading_is_an_error_and_not_clean() -> None:
    old = MemoryTransport(lambda verb, request: {"error": {"kind": "internal", "message": "no such reading"}})  # noqa: ARG005 (the seam)
    with use_transport(old), pytest.raises(AgentFailed, match="no such reading"):
        probes.versions_match()


def test_permitted_differences_are_within_the_tolerance_and_others_are_not(lock: str) -> None:
    changed = host("localhost", {"driver/library": "580.82.07", "driver/nvml_library": "580.82.07"})
    with use_transport(_agent(changed)):
        value = probes.drift_report(lock)
    assert tolerances.drifted_only_in(value, ["driver.*"]) is True
    assert tolerances.drifted_only_in(value, ["driver.library"]) is False
    assert tolerances.drifted_only_in(value, []) is False


def test_a_finding_that_breaks_is_outside_unless_all_that_it_names_is_permitted(lock: str) -> None:
    with use_transport(_agent(host("localhost", {"containers/cdi_driver": "580.82.07"}))):
        value = probes.drift_report(lock)
    assert tolerances.drifted_only_in(value, ["containers.cdi_driver"]) is False
    assert tolerances.drifted_only_in(value, ["containers.cdi_driver", "driver.module"]) is True


def test_what_could_not_be_read_is_outside_every_tolerance(lock: str) -> None:
    blind = host("localhost", {"kernel/release": None}, kernel__release="may not be read")
    with use_transport(_agent(blind)):
        assert tolerances.drifted_only_in(probes.drift_report(lock), ["*"]) is False


@pytest.mark.parametrize(
    ("found", "least", "due"),
    [
        ("full", "full", True),
        ("minor", "full", False),
        ("full", "forward", True),
        ("unknown", "forward", False),
        ("none", "none", False),
    ],
)
def test_a_support_is_within_the_tolerance_if_it_is_as_good(found: str, least: str, due: bool) -> None:
    assert tolerances.support_at_least({"support": found, "driver": DRIVER}, least) is due


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["differences", "findings", "unread", "key", "keys", "level", "support"]), inner, max_size=4
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_JSON, _JSON)
def test_a_tolerance_never_raises_whatever_it_is_given(value: JsonValue, other: JsonValue) -> None:
    assert tolerances.drifted_only_in(value, other) in (True, False)  # type: ignore[arg-type]  # experiments have no types
    assert tolerances.support_at_least(value, other) in (True, False)  # type: ignore[arg-type]  # likewise
