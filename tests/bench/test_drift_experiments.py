# SPDX-License-Identifier: Apache-2.0
"""The two drift incidents of the field, played from the catalogue on real hosts: the real Triton, apt and Ansible."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import packages
from bench.cuda_units import sh
from bench.driven import GUARDED, build_drivers, driven, let_go
from bench.hosts import Bench, Host
from bench.nodes import TOOLKITS, balanced, learned, play, put_toolkits, serving, site, url
from bench.plan import ROOT
from support.chaos import Played
from support.debs import LATER, OLD

pytestmark = [pytest.mark.triton, pytest.mark.timeout(900)]

_EXPERIMENTS = ROOT / "experiments"


def _said(played: Played, name: str) -> Any:
    """Return what a probe of the method said."""
    found = [step["output"] for step in played.journal["run"] if step["activity"]["name"] == name]
    assert len(found) == 1, (name, played.said)
    return found[0]


def _expected(name: str) -> str:
    [ours] = yaml.safe_load((_EXPERIMENTS / name).read_text(encoding="utf-8"))["extensions"]
    found: str = ours["expected_verdict"]
    return found


# --- mixed CUDA 11.8 and 12.1 ---


def test_mixed_cuda_nodes_answer_otherwise_while_every_health_check_is_green(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    name = "level-2/mixed-cuda-nodes-fragile.yaml"
    with ExitStack() as stack:
        for one in (host, other):
            put_toolkits(one)
            stack.enter_context(serving(fleet, one, site(one)))
        balancer_url = stack.enter_context(balanced(fleet, [host, other]))
        golden = learned(fleet, host, tmp_path)
        played = play(
            fleet, tmp_path, _EXPERIMENTS / name,
            TRITON_URL=balancer_url, NODE_ONE_URL=url(host), NODE_OTHER_URL=url(other), NODE_OTHER=other.name,
            CHAOSGPU_CANARY=str(golden),
        )  # fmt: skip
        assert played.verdict[0] == _expected(name) == "deviated", played.said
        assert "the nodes answer alike" in played.verdict[1]
        assert _said(played, "the health check of the node, for comparison") is True
        assert _said(played, "the health check through the balancer, for comparison") is True
        assert 0.1 < _said(played, "which share of the users gets the right answer") < 0.9
        apart = _said(played, "how far apart the nodes are")["nodes"][1]
        assert 1e-4 < apart["max_difference"] < 0.05, apart
        [sparse] = _said(played, "what the service on that node has loaded")["libcusparse"]
        assert sparse["path"] == f"{TOOLKITS['11.8']}/libcusparse.so.11.7.5.86"
        # Afterwards both nodes have the library that they had, and answer alike.
        loaded = "cat /proc/$(pgrep -f stub | head -1)/maps | grep -o '/opt/cuda.*' | sort -u"
        assert sh(other, loaded).strip() == f"{TOOLKITS['12.1']}/libcusparse.so.12.1.0.106"
        assert sh(other, "ls -d /run/chaosgpu-library-* /run/systemd/system/*.d/zz-* 2>/dev/null || true") == ""
    for one in (host, other):
        sh(one, "rm -rf /opt/cuda-11.8 /opt/cuda-12.1")


# --- a driver upgraded under its services ---


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drivers")
    build_drivers(folder)
    return folder


@pytest.fixture
def packaged(host: Host, debs: Path) -> Iterator[Host]:
    with driven(host, debs):
        yield host


def _versions(host: Host) -> str:
    return sh(host, "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' '*nvidia*' | sort")


def test_a_driver_upgraded_under_its_services_leaves_them_running_and_shuts_new_processes_out(
    fleet: Bench, packaged: Host, tmp_path: Path
) -> None:
    name = "level-3/driver-upgrade-fragile.yaml"
    let_go(packaged)
    with serving(fleet, packaged):
        golden, before = learned(fleet, packaged, tmp_path), _versions(packaged)
        environment = {"TRITON_URL": url(packaged), "NODE": packaged.name, "CHAOSGPU_CANARY": str(golden)}
        played = play(fleet, tmp_path, _EXPERIMENTS / name, **environment)
        assert played.verdict[0] == _expected(name) == "deviated", played.said
        assert "a new process can talk to the driver" in played.verdict[1]
        upgraded = _said(played, "the nightly upgrade comes")["observed"]
        assert f"libnvidia-compute {OLD} -> {LATER}" in upgraded["upgrade"]
        assert (upgraded["kept_back"], upgraded["module"]) == ([], OLD.partition("-")[0])
        assert _said(played, "the plain health check, for comparison") is True
        [cuda] = _said(played, "what the service that runs has loaded")["libcuda"]
        assert (cuda["version"], cuda["deleted"]) == (OLD.partition("-")[0], True)
        assert _said(played, "whether module, library and package of the driver are one version") is False
        after = played.journal["steady_states"]["after"]["probes"]
        assert {probe["activity"]["name"]: probe["tolerance_met"] for probe in after} == {
            "the canary is right": True,
            "a new process can talk to the driver": False,
        }
        assert _versions(packaged) == before
        assert packaged.run(["nvidia-smi", "-L"]).returncode == 0


def test_a_held_and_pinned_driver_stays_and_the_attempt_is_told_with_what_stopped_it(
    fleet: Bench, packaged: Host, tmp_path: Path
) -> None:
    name = "level-3/driver-upgrade-hardened.yaml"
    assert packages.ask(packaged, "guard", {"packages": GUARDED}) == {"gaps": []}
    with serving(fleet, packaged):
        golden, before = learned(fleet, packaged, tmp_path), _versions(packaged)
        environment = {"TRITON_URL": url(packaged), "NODE": packaged.name, "CHAOSGPU_CANARY": str(golden)}
        played = play(fleet, tmp_path, _EXPERIMENTS / name, **environment)
        assert played.verdict[0] == _expected(name) == "passed", played.said
        kept = _said(played, "the nightly upgrade comes")["observed"]["kept_back"]
        assert [(one["package"], one["newest"]) for one in kept] == [
            (package, LATER) for package in sorted(GUARDED) if package != "nvidia-persistenced"
        ]
        assert all(one["why"] == ["it is on hold", "a pin chooses another version"] for one in kept), json.dumps(kept)
        assert _versions(packaged) == before
