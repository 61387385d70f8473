# SPDX-License-Identifier: Apache-2.0
"""The two drift incidents of the field, played from the catalogue on real hosts: the real Triton, apt and Ansible."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import packages
from bench.cuda_units import sh
from bench.hosts import Bench, Host
from bench.inventory import write_inventory
from bench.plan import ROOT
from bench.triton import LIBRARIES
from bench.waiting import wait_until
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lab import numerics
from chaosgpu.sim import build
from chaosgpu.triton import api, canary
from chaosgpu.triton.golden import write_golden
from support import balancer
from support.chaos import TESTS, Chaos, Played
from support.debs import LATER, NAMES, OLD, build_repository

pytestmark = [pytest.mark.triton, pytest.mark.timeout(900)]

_EXPERIMENTS = ROOT / "experiments"
_UP_S = 120.0
_RUN_S = 500.0
_PORT = 18000  # of the balancer, in the bench's own network
_TOOLKITS = {cuda: f"/opt/cuda-{cuda}/lib64" for cuda in numerics.VERSIONS}
_SITE = "/etc/systemd/system/triton.service.d"
_GUARDED = {name: OLD for name in NAMES if name != "libnvidia-gpucomp"}


def _url(host: Host) -> str:
    return f"http://{host.address}:8000"


def _ready(fleet: Bench, host: Host) -> bool:
    with fleet.inside():
        try:
            return api.health(_url(host), "/v2/models/chat/ready", 5.0)
        except ChaosGpuError:
            return False


@contextmanager
def _serving(fleet: Bench, host: Host, site: str = "") -> Iterator[None]:
    """Run the host's Triton, with lines of the site's own in a drop-in; stop it and take them away afterwards."""
    if site:
        sh(host, f"mkdir -p {_SITE}; printf '[Service]\\n{site}\\n' > {_SITE}/site.conf; systemctl daemon-reload")
    sh(host, "systemctl start triton")
    try:
        wait_until(lambda: _ready(fleet, host), _UP_S)
        yield
    finally:
        host.agent("undo", {"all": True}, timeout_s=120)
        sh(host, f"systemctl stop triton; rm -rf {_SITE}; systemctl daemon-reload")


def _learned(fleet: Bench, host: Host, folder: Path) -> Path:
    with fleet.inside():
        write_golden(canary.learn(_url(host), "chat", 5, 20.0), folder / "chat.json")
    return folder / "chat.json"


def _play(fleet: Bench, folder: Path, name: str, **environment: str) -> Played:
    """Play an experiment of the catalogue as it is written there."""
    content = yaml.safe_load((_EXPERIMENTS / name).read_text(encoding="utf-8"))
    given = {**environment, "CHAOSGPU_INVENTORY": str(write_inventory(fleet.plan, folder))}
    with fleet.inside():
        chaos = Chaos(folder, content, ignore=(), PYTHONPATH=f"{TESTS}:{ROOT}", **given)
    return chaos.finish(_RUN_S)


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


def _put_toolkits(host: Host) -> None:
    """Lay both toolkits out on a host as their packages do."""
    for cuda, folder in _TOOLKITS.items():
        made = numerics.library(cuda)
        sh(host, f"mkdir -p {folder}; ln -sf {made.name} {folder}/{numerics.SONAME}")
        target = Path(f"/proc/{host.init()}/root{folder}/{made.name}")
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)


def _site(host: Host) -> str:
    """Have the model multiply with the library of CUDA 12.1, found by the search path of its service."""
    path = sh(host, "grep -o 'LD_LIBRARY_PATH=[^ ]*' /etc/systemd/system/triton.service").strip().partition("=")[2]
    return f"Environment=LD_LIBRARY_PATH={path}:{_TOOLKITS['12.1']} {numerics.VARIABLE}={numerics.SONAME}"


@contextmanager
def _balanced(fleet: Bench, hosts: list[Host]) -> Iterator[str]:
    """Run a balancer before the hosts, in their network."""
    words = [sys.executable, str(Path(balancer.__file__)), str(_PORT), *(f"{host.address}:8000" for host in hosts)]
    with fleet.inside():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{_PORT}"
    finally:
        process.communicate(timeout=20)


def test_mixed_cuda_nodes_answer_otherwise_while_every_health_check_is_green(
    fleet: Bench, host: Host, other: Host, tmp_path: Path
) -> None:
    name = "level-2/mixed-cuda-nodes-fragile.yaml"
    with ExitStack() as stack:
        for one in (host, other):
            _put_toolkits(one)
            stack.enter_context(_serving(fleet, one, _site(one)))
        url = stack.enter_context(_balanced(fleet, [host, other]))
        golden = _learned(fleet, host, tmp_path)
        played = _play(
            fleet, tmp_path, name,
            TRITON_URL=url, NODE_ONE_URL=_url(host), NODE_OTHER_URL=_url(other), NODE_OTHER=other.name,
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
        assert sparse["path"] == f"{_TOOLKITS['11.8']}/libcusparse.so.11.7.5.86"
        # Afterwards both nodes have the library that they had, and answer alike.
        loaded = "cat /proc/$(pgrep -f stub | head -1)/maps | grep -o '/opt/cuda.*' | sort -u"
        assert sh(other, loaded).strip() == f"{_TOOLKITS['12.1']}/libcusparse.so.12.1.0.106"
        assert sh(other, "ls -d /run/chaosgpu-library-* /run/systemd/system/*.d/zz-* 2>/dev/null || true") == ""
    for one in (host, other):
        sh(one, "rm -rf /opt/cuda-11.8 /opt/cuda-12.1")


# --- a driver upgraded under its services ---


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build packages of two drivers whose libraries are real ones, each of its own version."""
    folder = tmp_path_factory.mktemp("drivers")

    def driver(upstream: str) -> Path:
        return build.libraries(driver_version=upstream) / "lib"

    build_repository(folder, driver=driver, versions=(OLD, LATER))
    return folder


@pytest.fixture
def driven(host: Host, debs: Path) -> Iterator[Host]:
    """Give a host whose driver is packages: its libraries are theirs, and the module that runs is of their version."""
    packages.remove(host)
    sh(host, f"rm -f {LIBRARIES}/libcuda.so* {LIBRARIES}/libnvidia-ml.so*")
    packages.set_up(host, debs)
    upstream = OLD.partition("-")[0]
    host.gpus().set_system(kernel_driver_version=upstream)
    line = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {upstream}  Release Build"
    mount = "mountpoint -q /proc/driver || mount -t tmpfs x /proc/driver; mkdir -p /proc/driver/nvidia"
    sh(host, f"ldconfig; {mount}; echo '{line}' > /proc/driver/nvidia/version")
    try:
        yield host
    finally:
        host.agent("undo", {"all": True}, timeout_s=packages.APPLY_S)
        packages.remove(host)
        for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
            sh(host, f"rm -f {LIBRARIES}/{name.removesuffix('1')}*")
            target = Path(f"/proc/{host.init()}/root{LIBRARIES}/{name}")
            target.write_bytes((build.libraries() / "lib" / name).read_bytes())
            target.chmod(0o755)
        sh(host, "ldconfig")
        host.gpus().inject("driver_loaded")


def _versions(host: Host) -> str:
    return sh(host, "dpkg-query -W -f '${Package} ${Version} ${Status}\\n' '*nvidia*' | sort")


def test_a_driver_upgraded_under_its_services_leaves_them_running_and_shuts_new_processes_out(
    fleet: Bench, driven: Host, tmp_path: Path
) -> None:
    name = "level-3/driver-upgrade-fragile.yaml"
    sh(driven, "apt-mark unhold nvidia-open nvidia-fabricmanager; rm /etc/apt/preferences.d/site")
    with _serving(fleet, driven):
        golden, before = _learned(fleet, driven, tmp_path), _versions(driven)
        environment = {"TRITON_URL": _url(driven), "NODE": driven.name, "CHAOSGPU_CANARY": str(golden)}
        played = _play(fleet, tmp_path, name, **environment)
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
        assert _versions(driven) == before
        assert driven.run(["nvidia-smi", "-L"]).returncode == 0


def test_a_held_and_pinned_driver_stays_and_the_attempt_is_told_with_what_stopped_it(
    fleet: Bench, driven: Host, tmp_path: Path
) -> None:
    name = "level-3/driver-upgrade-hardened.yaml"
    assert packages.ask(driven, "guard", {"packages": _GUARDED}) == {"gaps": []}
    with _serving(fleet, driven):
        golden, before = _learned(fleet, driven, tmp_path), _versions(driven)
        environment = {"TRITON_URL": _url(driven), "NODE": driven.name, "CHAOSGPU_CANARY": str(golden)}
        played = _play(fleet, tmp_path, name, **environment)
        assert played.verdict[0] == _expected(name) == "passed", played.said
        kept = _said(played, "the nightly upgrade comes")["observed"]["kept_back"]
        assert [(one["package"], one["newest"]) for one in kept] == [
            (package, LATER) for package in sorted(_GUARDED) if package != "nvidia-persistenced"
        ]
        assert all(one["why"] == ["it is on hold", "a pin chooses another version"] for one in kept), json.dumps(kept)
        assert _versions(driven) == before
