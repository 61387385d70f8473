# SPDX-License-Identifier: Apache-2.0
"""Each rule finds what it is for, and none says anything of a sound host."""

import pytest

from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.rules import Level, findings
from chaosgpu.cuda.whatif import changed, new_findings
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonValue
from support.drift_facts import DRIVER, host

DATA = compatibility()
_CUSPARSE: JsonValue = [
    {"path": "/opt/v/nvidia/cusparse/lib/libcusparse.so.12", "version": "12.5.10.65", "deleted": False},
    {"path": "/usr/local/cuda/lib64/libcusparse.so.12.5.4.2", "version": "12.5.4.2", "deleted": False},
]
_GONE: JsonValue = [{"path": f"/usr/lib/libcuda.so.{DRIVER}", "version": DRIVER, "deleted": True}]
_NO_MODULE = "no NVIDIA module is on the disk for the running kernel 6.8.0-85-generic"
_CUDART13: JsonValue = [{"path": "/x/libcudart.so.13", "version": "13.3.29", "deleted": False}]
_CUDART14: JsonValue = [{"path": "/x/libcudart.so.14", "version": "14.0.1", "deleted": False}]
_IMAGE = "nvcr.io/nvidia/tritonserver:{}"


def _image(tag: str) -> JsonValue:
    return {"triton": {"image": _IMAGE.format(tag), "digest": "sha256:aa"}}


# The rule, how bad it is, what is changed on a sound host, and a word that the sentence must have.
CASES: list[tuple[str, Level, dict[str, JsonValue], str]] = [
    ("library-is-not-the-modules", Level.BREAKS, {"driver/library": "580.82.07"}, "NVML answers 18"),
    ("two-drivers-libraries", Level.BREAKS, {"driver/nvml_library": "580.82.07"}, "libnvidia-ml of 580.82.07"),
    ("next-boot-changes-the-driver", Level.RISK, {"driver/module_on_disk": "580.82.07"}, "next boot"),
    ("installed-is-not-loaded", Level.BREAKS, {"driver/package": "580.105.08-0ubuntu1"}, "580.105.08"),
    (
        "must-be-the-drivers-version", Level.BREAKS,
        {"packages/installed/nvidia-fabricmanager-580": "580.82.07-1"}, "fabric manager does not start",
    ),
    ("must-be-the-drivers-version", Level.BREAKS, {"packages/installed/libnvsdm": "590.48.01-1"}, "NVSwitches"),
    ("half-installed", Level.BREAKS, {"packages/broken/nvidia-dkms-580": "half-configured"}, "dpkg --configure -a"),
    (
        "half-installed", Level.BREAKS,
        {"packages/manager": "rpm", "packages/broken/nvidia-open": "in two versions"}, "rpm left nvidia-open in two",
    ),
    ("upgrades-by-itself", Level.RISK, {"packages/holds": [], "apt/pins": []}, "Unattended upgrades are on"),
    ("held-by-half", Level.RISK, {"apt/pins": []}, "there is no pin"),
    ("held-by-half", Level.RISK, {"packages/holds": []}, "there is no hold"),
    ("library-loaded-twice", Level.BREAKS, {"services|triton.service|libcusparse": _CUSPARSE}, "/usr/local/cuda/lib64"),
    ("library-replaced-under-it", Level.RISK, {"services|triton.service|libcuda": _GONE}, "until its next start"),
    ("driver-for-cuda", Level.RISK, {"services|triton.service|libcudart": _CUDART13}, "with limits"),
    ("driver-for-cuda", Level.UNKNOWN, {"services|triton.service|libcudart": _CUDART14}, "knows no CUDA 14"),
    ("cdi-names-another-driver", Level.BREAKS, {"containers/cdi_driver": "580.82.07"}, "nvidia-ctk cdi generate"),
    (
        "toolkit-of-two-versions", Level.RISK,
        {"containers/toolkit_packages/libnvidia-container1": "1.17.8-1"}, "pin all four",
    ),
    ("driver-for-triton", Level.RISK, {"containers/images": _image("26.07-vllm-python-py3")}, "13.3.0 (vllm)"),
    ("driver-for-triton", Level.UNKNOWN, {"containers/images": _image("26.07-py3")}, "depends on the flavour"),
    ("driver-for-triton", Level.UNKNOWN, {"containers/images": _image("22.01-py3")}, "which the data"),
    (
        "engine-of-another-tensorrt", Level.BREAKS,
        {"environments/chat/packages/tensorrt": "10.8.0.43"}, "built by TensorRT 10.13.3.9",
    ),
    (
        "wheels-of-two-cudas", Level.RISK,
        {"environments/chat/packages/nvidia-cudnn-cu13": "9.26.0.51"}, "CUDA 12 and 13",
    ),
    (
        "not-what-torch-was-built-with", Level.RISK,
        {"environments/chat/packages": {"torch": "2.15.0", "nvidia-nccl-cu13": "2.25.1"}},
        "built with nvidia-nccl-cu13 2.30.7",
    ),
]  # fmt: skip


def test_no_rule_says_anything_of_a_sound_host() -> None:
    assert findings(host(), DATA) == []


@pytest.mark.parametrize(("rule", "level", "changes", "word"), CASES, ids=[f"{case[0]}-{case[3]}" for case in CASES])
def test_a_rule_finds_what_does_not_go_together(
    rule: str, level: Level, changes: dict[str, JsonValue], word: str
) -> None:
    found = {one.rule: one for one in findings(host(changes=changes), DATA)}
    assert rule in found
    assert found[rule].level is level
    assert word in found[rule].what
    assert found[rule].source
    assert found[rule].host == "gpu01"


@pytest.mark.parametrize("version", ["10.13.3.9", "10.13.3", "10", "?"])
def test_an_engine_of_the_tensorrt_that_is_loaded_is_fine(version: str) -> None:
    loaded: JsonValue = [{"path": "/x/libnvinfer.so", "version": version, "deleted": False}]
    assert findings(host(changes={"services|triton.service|libnvinfer": loaded}), DATA) == []


def test_a_driver_without_a_module_for_the_next_boot_breaks() -> None:
    facts = host(changes={"driver/module_on_disk": None}, driver__module_on_disk=_NO_MODULE)
    assert [(one.rule, one.level) for one in findings(facts, DATA)] == [("next-boot-has-no-driver", Level.BREAKS)]


def test_a_driver_that_is_unknown_is_not_good_for_any_cuda() -> None:
    facts = host(
        changes={"driver": {}, "containers/cdi_driver": None}, driver__module="no NVIDIA kernel module is loaded"
    )
    found = findings(facts, DATA)
    assert {one.rule for one in found} == {"driver-for-cuda", "driver-for-triton"}
    assert {one.level for one in found} == {Level.UNKNOWN}
    assert all("no NVIDIA kernel module is loaded" in one.what for one in found)


def test_the_worst_comes_first() -> None:
    facts = host(changes={"driver/module_on_disk": "580.82.07", "driver/library": "580.82.07", "apt/pins": []})
    levels = [one.level for one in findings(facts, DATA)]
    assert levels == sorted(levels, key=list(Level).index)
    assert len(set(levels)) == 2


@pytest.mark.parametrize("package", ["libnvidia-compute-580", "*", "libnvidia-compute-*", "src:*nvidia*:any"])
def test_a_pin_counts_by_name_by_pattern_and_by_source(package: str) -> None:
    pin: JsonValue = [{"package": package, "pin": "version 580*", "priority": "1001", "file": "/x"}]
    assert findings(host(changes={"apt/pins": pin}), DATA) == []


def test_a_pin_of_something_else_does_not_count() -> None:
    pin: JsonValue = [{"package": "cuda-toolkit-12-9", "pin": "version 12*", "priority": "1001", "file": "/x"}]
    assert [one.rule for one in findings(host(changes={"apt/pins": pin}), DATA)] == ["held-by-half"]


_BY_RPM: dict[str, JsonValue] = {
    "driver/package_name": "nvidia-driver-cuda-libs", "driver/package": f"3:{DRIVER}-1.el9", "packages/manager": "rpm",
    "packages/holds": [], "apt/pins": [],
    "packages/installed": {"nvidia-driver-cuda-libs": f"3:{DRIVER}-1.el9", "nvidia-container-toolkit": "1.18.0-1"},
}  # fmt: skip


def _exclude(pattern: str, repository: str = "") -> JsonValue:
    told: dict[str, JsonValue] = {"package": pattern, "pin": "excluded", "file": "/x"}
    return {**told, "repository": repository} if repository else told


def test_a_driver_of_rpms_that_nothing_holds_while_dnf_installs_updates_is_found() -> None:
    [found] = findings(host(changes=_BY_RPM), DATA)
    assert (found.rule, found.level) == ("upgrades-by-itself", Level.RISK)
    assert "nothing holds nvidia-driver-cuda-libs" in found.what
    assert "dnf versionlock add nvidia-driver-cuda-libs" in found.what


@pytest.mark.parametrize(
    "changes",
    [
        {"packages/holds": ["nvidia-driver-cuda-libs"]},
        {"apt/pins": [_exclude("nvidia-driver*")]},
        {"apt/pins": [_exclude("cuda*"), _exclude("*nvidia*.x86_64")]},
        {"apt/blacklist": ["nvidia*"]},
        {"apt/unattended_upgrades": False},
    ],
)
def test_a_driver_of_rpms_stays_by_a_lock_by_an_exclude_and_where_nothing_moves_it(
    changes: dict[str, JsonValue],
) -> None:
    assert findings(host(changes={**_BY_RPM, **changes}), DATA) == []


@pytest.mark.parametrize(
    ("pins", "word"),
    [
        ([_exclude("nvidia-driver-cuda-libs-3:590*")], "nothing holds"),
        ([_exclude("nvidia-driver-cuda-libs.i686")], "nothing holds"),
        ([_exclude("cuda*")], "nothing holds"),
        ([_exclude("nvidia*", "epel"), _exclude("*", "appstream")], "is excluded from appstream, epel only"),
    ],
)
def test_an_exclude_of_something_else_or_of_one_repository_holds_nothing(pins: JsonValue, word: str) -> None:
    [found] = findings(host(changes={**_BY_RPM, "apt/pins": pins}), DATA)
    assert (found.rule, found.level) == ("upgrades-by-itself", Level.RISK)
    assert word in found.what


@pytest.mark.parametrize(
    ("gone", "unknown"),
    [
        ("apt/unattended_upgrades", "apt__unattended_upgrades"),
        ("apt/pins", "apt__pins"),
        ("apt/blacklist", "apt__blacklist"),
        ("packages/holds", "packages__holds"),
    ],
)
def test_whether_dnf_moves_the_driver_is_unknown_where_what_decides_it_is(gone: str, unknown: str) -> None:
    [found] = findings(host(changes={**_BY_RPM, gone: None}, **{unknown: "/x may not be read by this user"}), DATA)
    assert (found.rule, found.level) == ("upgrades-by-itself", Level.UNKNOWN)
    assert "is not known: /x may not be read by this user." in found.what


def test_what_is_unknown_does_not_matter_to_a_driver_that_stays() -> None:
    gone: dict[str, JsonValue] = {**_BY_RPM, "apt/pins": None}
    unread = {"apt__pins": "/x may not be read by this user"}
    assert findings(host(changes={**gone, "apt/unattended_upgrades": False}, **unread), DATA) == []
    assert findings(host(changes={**gone, "packages/holds": ["nvidia-driver-cuda-libs"]}, **unread), DATA) == []


def test_a_change_is_judged_before_anybody_makes_it() -> None:
    new = new_findings(host(), {"driver.module": "535.104.05"}, DATA)
    assert {"library-is-not-the-modules", "must-be-the-drivers-version", "driver-for-cuda"} <= {one.rule for one in new}
    assert new_findings(host(), {"driver.module": DRIVER}, DATA) == []


def test_a_changed_package_is_seen_and_the_first_document_stays_as_it_was() -> None:
    facts = host()
    new = new_findings(facts, {"packages.nvidia-fabricmanager-580": "590.48.01-1"}, DATA)
    assert [one.rule for one in new] == ["must-be-the-drivers-version"]
    assert findings(facts, DATA) == []


@pytest.mark.parametrize("key", ["gpus.vbios", "driver", "nothing.here", "images.triton"])
def test_a_value_that_cannot_be_set_is_refused(key: str) -> None:
    with pytest.raises(BadArgument, match=r"cannot be set: name a package"):
        changed(host(), {key: "x"})


def test_a_lock_of_dnf_is_hold_and_pin_at_once() -> None:
    assert findings(host(changes={"packages/manager": "rpm", "apt/pins": []}), DATA) == []
    assert findings(host(changes={"packages/manager": "dpkg", "apt/pins": []}), DATA) != []
