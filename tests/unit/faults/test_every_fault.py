# SPDX-License-Identifier: Apache-2.0
"""What must hold for every fault in the registry on every product, through the real agent, holder and keeper."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench import cuda_units, drift_units, file_units, packages, unit_cases
from chaosgpu.agent.errors import Unverified
from chaosgpu.agent.faults.contract import Held
from chaosgpu.agent.faults.registry import REGISTRY
from unit.faults.cases import CASES, PROFILES, Case
from unit.faults.rig import Hurried, LyingDriver, Rig

SETTERS = ("gpu.clock.lock", "gpu.power.cap", "gpu.compute_mode.set", "gpu.persistence.off")
BY_FAULT = {case.fault: case for case in CASES}


def _settled(rig: Rig) -> list[dict[str, Any]]:
    """Return the settings without what a killed and restarted service changes by being another process."""
    return [{key: value for key, value in gpu.items() if key != "memory_by_process"} for gpu in rig.settings()]


def test_every_fault_in_the_registry_has_a_case() -> None:
    """Faults of units and packages have theirs on test hosts: they need a systemd, and an apt to break.

    The file of the self-drill has its own in `test_selfdrill_file.py`, and the disk in `test_disk_fill.py`; both are
    struck in tests/crash.
    """
    on_hosts = [case.fault for case in unit_cases.CASES]
    on_hosts += [*cuda_units.FAULTS, *file_units.FAULTS, *drift_units.FAULTS, *packages.FAULTS]
    assert [*(case.fault for case in CASES), *on_hosts, "disk.fill", "selfdrill.file"] == list(REGISTRY)


# A fault on processes does not depend on the product: one product is enough for these two.
RUNS = [(case, profile) for case in CASES for profile in PROFILES]


@pytest.mark.parametrize(("case", "profile"), RUNS, ids=[f"{case.fault}-{profile}" for case, profile in RUNS])
def test_it_is_put_in_seen_undone_and_undone_again(case: Case, profile: str, rig_of: Callable[[str], Rig]) -> None:
    rig = rig_of(profile)
    params = case.params(rig)
    before, users = _settled(rig), rig.pids_on_gpu()

    answer = rig.apply(case.fault, params)
    assert answer.get("state") == "active", answer
    assert case.in_force(rig, answer["observed"]), answer["observed"]
    second = rig.apply(case.fault, params)
    undone = rig.undo(answer["lease"])
    again = rig.undo(answer["lease"])

    assert second["error"]["kind"] in ("claimed", "no_effect", "refused"), second
    assert (undone["state"], undone["left_alone"]) == ("clean", []), undone
    assert again["state"] == "clean"
    assert _settled(rig) == before
    assert len(rig.pids_on_gpu()) == len(users)


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_undo_without_inject_changes_nothing(case: Case, rig: Rig) -> None:
    params = case.params(rig)
    fault, context = REGISTRY[case.fault], rig.context()
    before = rig.settings()
    parsed = fault.parse(params)
    fault.check(parsed, context)
    prior = fault.capture(parsed, context)

    fault.undo(parsed, prior, context)
    restored = fault.restored(parsed, prior, None, context)

    assert restored.clean, restored
    assert restored.left_alone == ()
    assert rig.settings() == before


@pytest.mark.parametrize("name", SETTERS)
def test_a_driver_that_says_yes_and_does_nothing_is_found_out(name: str, rig: Rig) -> None:
    before = rig.settings()
    fault, context = REGISTRY[name], rig.context()
    params = fault.parse({**BY_FAULT[name].params(rig), **({"squatter": False} if "compute" in name else {})})
    fault.check(params, context)
    prior = fault.capture(params, context)
    lying = replace(context, driver=LyingDriver(rig.driver()), clock=Hurried(context.clock))

    fault.inject(params, prior, lying)
    with pytest.raises(Unverified, match="The driver said yes to"):
        fault.verify(params, prior, None, lying)
    fault.undo(params, prior, context)

    assert fault.restored(params, prior, None, context).clean
    assert rig.settings() == before


@pytest.mark.parametrize("name", SETTERS)
def test_the_same_check_passes_with_a_driver_that_does_it(name: str, rig: Rig) -> None:
    fault, context = REGISTRY[name], rig.context()
    params = fault.parse({**BY_FAULT[name].params(rig), **({"squatter": False} if "compute" in name else {})})
    prior = fault.capture(params, context)
    fault.inject(params, prior, context)
    assert fault.verify(params, prior, None, context)


@pytest.mark.parametrize("name", ["gpu.memory.fill", "gpu.memory.leak", "gpu.burn"])
def test_a_holder_that_holds_nothing_is_found_out(name: str, rig: Rig) -> None:
    fault, context = REGISTRY[name], rig.context()
    params = fault.parse(BY_FAULT[name].params(rig))
    prior = fault.capture(params, context)
    me = Held(os.getpid(), 0, alive=True, report={"held_bytes": 1 << 40, "launches": 1000})
    with pytest.raises(Unverified, match=f"{os.getpid()}"):
        fault.verify(params, prior, me, replace(context, clock=Hurried(context.clock)))
    with pytest.raises(Unverified, match="has ended"):
        fault.verify(params, prior, replace(me, alive=False), context)


@pytest.mark.parametrize("case", [case for case in CASES if case.fault != "gpu.process.kill"], ids=lambda c: c.fault)
def test_an_ailing_gpu_is_refused(case: Case, rig: Rig) -> None:
    params = case.params(rig)
    rig.gpus.set(0, remap_pending=1)
    before = rig.settings()
    answer = rig.apply(case.fault, params)
    assert answer["error"]["kind"] == "refused"
    assert "unhealthy" in answer["error"]["message"]
    assert rig.settings() == before


@pytest.mark.parametrize("name", ["gpu.memory.fill", "gpu.memory.leak", "gpu.burn", "gpu.compute_mode.set"])
def test_a_killed_holder_gives_everything_back(name: str, rig: Rig) -> None:
    before = rig.settings()
    answer = rig.apply(name, BY_FAULT[name].params(rig))
    os.kill(answer["observed"]["holder_pid"], signal.SIGKILL)
    undone = rig.undo(answer["lease"])
    assert undone["state"] == "clean", undone
    assert rig.settings() == before


def test_nothing_of_ours_runs_after_the_undo(rig: Rig) -> None:
    answer = rig.apply("gpu.memory.fill", {"gpu": rig.uuid, "used_percent": 50})
    assert rig.ours()
    rig.undo(answer["lease"])
    assert rig.ours_in_the_end() == []
