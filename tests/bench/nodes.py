# SPDX-License-Identifier: Apache-2.0
"""Nodes that serve the lab's model behind a balancer, and experiments of the catalogue that are played on them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cuda_units import sh
from bench.hosts import Bench, Host
from bench.inventory import write_inventory
from bench.plan import ROOT
from bench.waiting import wait_until
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lab import numerics
from chaosgpu.triton import api, canary
from chaosgpu.triton.golden import write_golden
from support import balancer
from support.chaos import TESTS, Chaos, Played

__all__ = ["TOOLKITS", "balanced", "learned", "play", "put_toolkits", "ready", "serving", "site", "url"]

TOOLKITS = {cuda: f"/opt/cuda-{cuda}/lib64" for cuda in numerics.VERSIONS}
_UP_S = 120.0
_RUN_S = 500.0
_PORT = 18000  # of the balancer, in the bench's own network
_SITE = "/etc/systemd/system/triton.service.d"


def url(host: Host) -> str:
    """Return where a host's Triton is."""
    return f"http://{host.address}:8000"


def ready(fleet: Bench, host: Host) -> bool:
    """Ask its health check."""
    with fleet.inside():
        try:
            return api.health(url(host), "/v2/models/chat/ready", 5.0)
        except ChaosGpuError:
            return False


@contextmanager
def serving(fleet: Bench, host: Host, lines: str = "") -> Iterator[None]:
    """Run the host's Triton, with lines of the site's own in a drop-in; stop it and take them away afterwards."""
    if lines:
        sh(host, f"mkdir -p {_SITE}; printf '[Service]\\n{lines}\\n' > {_SITE}/site.conf; systemctl daemon-reload")
    sh(host, "systemctl start triton")
    try:
        wait_until(lambda: ready(fleet, host), _UP_S)
        yield
    finally:
        host.agent("undo", {"all": True}, timeout_s=120)
        sh(host, f"systemctl stop triton; rm -rf {_SITE}; systemctl daemon-reload")


def learned(fleet: Bench, host: Host, folder: Path) -> Path:
    """Learn the known answer of a host's model."""
    with fleet.inside():
        write_golden(canary.learn(url(host), "chat", 5, 20.0), folder / "chat.json")
    return folder / "chat.json"


def play(fleet: Bench, folder: Path, experiment: Path, **environment: str) -> Played:
    """Play an experiment of the catalogue as it is written there: its JSON, which is the same as its YAML."""
    content = json.loads(experiment.with_suffix(".json").read_text(encoding="utf-8"))
    given = {**environment, "CHAOSGPU_INVENTORY": str(write_inventory(fleet.plan, folder))}
    with fleet.inside():
        chaos = Chaos(folder, content, ignore=(), PYTHONPATH=f"{TESTS}:{ROOT}", **given)
    return chaos.finish(_RUN_S)


def put_toolkits(host: Host) -> None:
    """Lay both toolkits out on a host as their packages do."""
    for cuda, folder in TOOLKITS.items():
        made = numerics.library(cuda)
        sh(host, f"mkdir -p {folder}; ln -sf {made.name} {folder}/{numerics.SONAME}")
        target = Path(f"/proc/{host.init()}/root{folder}/{made.name}")
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)


def site(host: Host) -> str:
    """Have the model multiply with the library of CUDA 12.1, found by the search path of its service."""
    path = sh(host, "grep -o 'LD_LIBRARY_PATH=[^ ]*' /etc/systemd/system/triton.service").strip().partition("=")[2]
    return f"Environment=LD_LIBRARY_PATH={path}:{TOOLKITS['12.1']} {numerics.VARIABLE}={numerics.SONAME}"


@contextmanager
def balanced(fleet: Bench, hosts: list[Host], golden: Path | None = None) -> Iterator[str]:
    """Run a balancer before the hosts, in their network; with a known answer it asks them for that."""
    judged = [] if golden is None else ["--canary", str(golden)]
    addresses = [f"{host.address}:8000" for host in hosts]
    words = [sys.executable, str(Path(balancer.__file__)), *judged, str(_PORT), *addresses]
    with fleet.inside():
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{_PORT}"
    finally:
        process.communicate(timeout=20)
