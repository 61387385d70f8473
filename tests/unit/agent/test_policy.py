# SPDX-License-Identifier: Apache-2.0
"""The host has the last word, and a policy that is missing, wrong or open to others permits nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.errors import Forbidden
from chaosgpu.agent.guard import allow_claims
from chaosgpu.agent.home import Home
from chaosgpu.agent.host import Host
from chaosgpu.agent.main import Parts, _host
from chaosgpu.agent.policy import Approvals, Policy, read_policy
from support.agent_host import POLICY, AgentHost

FULL: dict[str, Any] = {
    "version": 1,
    "permit": ["gpu.*"],
    "max_duration_s": 600,
    "protected": {"units": ["slurmd.service"], "gpus": ["GPU-5c"]},
    "approvals": {"required": False, "allowed_signers": None},
    "python": None,
}


def written(tmp_path: Path, content: object) -> str:
    path = tmp_path / "policy.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    return str(path)


def test_the_form_of_the_design_is_read(tmp_path: Path) -> None:
    policy = read_policy(written(tmp_path, FULL), tmp_path.stat().st_uid)
    assert policy == Policy(("gpu.*",), 600, ("slurmd.service",), ("GPU-5c",))


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "{",
        "[]",
        {},
        {**FULL, "version": 2},
        {**FULL, "permitt": []},
        {**FULL, "permit": "gpu.*"},
        {**FULL, "permit": [""]},
        {**FULL, "max_duration_s": "long"},
        {**FULL, "max_duration_s": -1},
        {**FULL, "protected": {"unit": []}},
        {**FULL, "protected": {"gpus": ["0"]}},
        {**FULL, "approvals": {"required": "no"}},
        {**FULL, "approvals": {"signers": None}},
    ],
)
def test_a_policy_with_anything_wrong_permits_nothing(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(Forbidden, match="only reads"):
        read_policy(written(tmp_path, wrong), None)


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_policy_that_others_may_write_permits_nothing(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, FULL)
    Path(path).chmod(mode)
    with pytest.raises(Forbidden, match="writable for nobody else"):
        read_policy(path, tmp_path.stat().st_uid)


def test_a_policy_in_a_folder_that_others_may_write_permits_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, FULL)
    tmp_path.chmod(0o777)
    with pytest.raises(Forbidden, match=str(tmp_path)):
        read_policy(path, tmp_path.stat().st_uid)


def test_a_policy_of_another_owner_permits_nothing(tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="must belong to user"):
        read_policy(written(tmp_path, FULL), tmp_path.stat().st_uid + 1)


@pytest.mark.parametrize(
    ("fault", "max_duration_s", "permitted"),
    [
        ("gpu.memory.fill", 600, True),
        ("gpu.memory.fill", 600.1, False),
        ("unit.stop", 1, False),
        ("gpux.fill", 1, False),
        ("GPU.memory.fill", 1, False),
    ],
)
def test_only_what_is_permitted_is_permitted(fault: str, max_duration_s: float, permitted: bool) -> None:
    policy = Policy(("gpu.*",), 600)
    if permitted:
        policy.allow(fault, max_duration_s)
        return
    with pytest.raises(Forbidden):
        policy.allow(fault, max_duration_s)


def demanding(tmp_path: Path, **changes: object) -> str:
    signers = tmp_path / "allowed_signers"
    signers.write_text("bob@lab ssh-ed25519 AAAA\n")
    signers.chmod(0o644)
    return written(tmp_path, {**FULL, "approvals": {"required": True, "allowed_signers": str(signers), **changes}})


def test_whose_signatures_count_is_read_with_the_policy(tmp_path: Path) -> None:
    policy = read_policy(demanding(tmp_path, needed=2, names=["rack1-gpu3"]), tmp_path.stat().st_uid)
    assert policy.approvals == Approvals(b"bob@lab ssh-ed25519 AAAA\n", 2, ("rack1-gpu3",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"allowed_signers": None},
        {"allowed_signers": "allowed_signers"},
        {"allowed_signers": "/nonexistent/allowed_signers"},
        {"needed": 0},
        {"needed": "two"},
        {"names": "rack1-gpu3"},
        {"signers": []},
    ],
)
def test_approvals_that_nobody_could_judge_permit_nothing(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(Forbidden, match="only reads"):
        read_policy(demanding(tmp_path, **wrong), None)


def test_allowed_signers_that_others_may_write_permit_nothing(tmp_path: Path) -> None:
    path = demanding(tmp_path)
    (tmp_path / "allowed_signers").chmod(0o666)
    with pytest.raises(Forbidden, match="writable for nobody else"):
        read_policy(path, tmp_path.stat().st_uid)
    assert read_policy(path, None).approvals is not None


@pytest.mark.parametrize("claim", ["gpu:GPU-5c:memory", "gpu:GPU-5c@sim1:clocks", "unit:slurmd.service"])
def test_what_is_protected_cannot_be_claimed(claim: str) -> None:
    policy = Policy(("*",), 600, ("slurmd.service",), ("GPU-5c",))
    with pytest.raises(Forbidden, match="protects"):
        policy.allow_claims((claim,))
    policy.allow_claims(("gpu:GPU-6d:memory", "unit:other.service"))


@pytest.mark.parametrize("protected", ["vllm@0.service", "vllm@0", "vllm@.service", "vllm@"])
def test_a_protected_instance_of_a_template_cannot_be_claimed_and_its_namesakes_can(protected: str) -> None:
    policy = Policy(("*",), 600, (protected,))
    with pytest.raises(Forbidden, match=r"protects the unit vllm@0\.service"):
        policy.allow_claims(("unit:other.service", "unit:vllm@0.service"))
    policy.allow_claims(("unit:vllm.service", "unit:other@0.service", "unit:vllm@0.socket", "unit", "gpu"))


def test_the_name_before_an_at_sign_protects_that_unit_alone() -> None:
    policy = Policy(("*",), 600, ("vllm",))
    policy.allow_claims(("unit:vllm@0.service",))
    with pytest.raises(Forbidden, match="protects"):
        policy.allow_claims(("unit:vllm.service",))


def lab_or_host(tmp_path: Path, *, limited: bool) -> Host:
    return _host(Parts(), {}, Home(str(tmp_path), limited), "test")


@pytest.mark.parametrize("library", [None, {"path": "/x", "sha256": "00", "simulator": None}])
def test_under_a_home_of_ones_own_a_real_gpu_is_forbidden(tmp_path: Path, library: Any) -> None:
    with pytest.raises(Forbidden, match="simulated"):
        allow_claims(lab_or_host(tmp_path, limited=True), Policy(("*",), 1), ("gpu:GPU-1:memory",), library)


def test_under_a_home_of_ones_own_simulated_gpus_and_plain_processes_are_allowed(tmp_path: Path) -> None:
    simulated: dict[str, Any] = {"path": "/x", "sha256": "00", "simulator": "sim1"}
    allow_claims(lab_or_host(tmp_path, limited=True), Policy(("*",), 1), ("gpu:GPU-1:memory",), simulated)
    allow_claims(lab_or_host(tmp_path, limited=True), Policy(("*",), 1), ("process:1",), None)
    real = {**simulated, "simulator": None}
    allow_claims(lab_or_host(tmp_path, limited=False), Policy(("*",), 1), ("gpu:GPU-1:memory",), real)


@pytest.mark.parametrize(
    "change", [{"permit": ["gpu.*"]}, {"max_duration_s": 5}, {"approvals": {"required": True}}, None]
)
def test_apply_obeys_the_policy_of_its_home(host: AgentHost, change: dict[str, object] | None) -> None:
    if change is None:
        (host.home / "policy.json").unlink()
    else:
        host.policy({**POLICY, **change})
    assert host.apply()["error"]["kind"] == "forbidden"
    assert host.ask("list")["leases"] == []
    assert not host.residue()
    host.policy(POLICY)
    assert host.apply()["state"] == "active"


def test_the_systems_policy_counts_where_no_home_is_named(host: AgentHost) -> None:
    """The home's own policy would permit it; the host's, which is missing, has the last word."""
    host.environment.pop("CHAOSGPU_AGENT_HOME")
    host.environment["XDG_STATE_HOME"] = str(host.folder)
    answer = host.tell("apply", {"protocol": 1, **host.order()}, system_policy=str(host.folder / "nowhere.json"))
    assert answer["error"]["kind"] == "forbidden"
    assert "nowhere.json" in answer["error"]["message"]
