# SPDX-License-Identifier: Apache-2.0
"""Units on a test host: the real Triton with a KV cache of its own, and small ones of one process."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.hosts import Bench, Host
from bench.waiting import wait_until
from chaosgpu.agent.shim.library import Library
from chaosgpu.errors import AnswerWrong, Refused, Unreachable
from chaosgpu.triton import api, canary
from chaosgpu.triton.http import TooSlow
from chaosgpu.triton.tensors import seeded

__all__ = [
    "BLOCKS",
    "FAULTS",
    "READY",
    "SHARE",
    "Served",
    "beside",
    "codes",
    "drop_ins",
    "loaded",
    "preload",
    "serving",
    "sh",
    "unit",
]

# Their tests are test_unit_kv_cache.py and test_unit_cuda_errors.py.
FAULTS = ("unit.kv_cache.shrink", "unit.cuda.errors")
SHARE = "LAB_KV_CACHE_SHARE"
READY = "http://127.0.0.1:8000/v2/models/chat/ready"
BLOCKS = {"url": "http://127.0.0.1:8002/metrics", "pattern": r"^lab_kv_cache_blocks\{.*\} (\S+)$"}
_UNITS = "/etc/systemd/system"
_SERVICE = """\
[Unit]
After=simulated-gpus.service
[Service]
{}
[Install]
WantedBy=multi-user.target
"""
# One process that allocates and frees ten times a second and writes what CUDA answered.
_USER = """\
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
context, at = ctypes.c_void_p(), ctypes.c_uint64()
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
assert not cuda.cuCtxSetCurrent(context)
while True:
    code = cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(4096))
    print(code, flush=True)
    code or cuda.cuMemFree_v2(at)
    time.sleep(0.1)
"""


def sh(host: Host, script: str) -> str:
    """Run a script there; it must succeed."""
    return host.run(["sh", "-c", script], check=True).stdout


class Served:
    """The host's Triton, asked from outside."""

    def __init__(self, fleet: Bench, host: Host) -> None:
        self._fleet, self._url = fleet, f"http://{host.address}:8000"
        self._metrics = f"http://{host.address}:8002"
        self.host = host
        self.wait_until_ready()
        with fleet.inside():
            self._golden = canary.learn(self._url, "chat", 5, 5.0)

    def ready(self) -> bool:
        """Tell what its health check says."""
        with self._fleet.inside():
            try:
                return api.health(self._url, "/v2/models/chat/ready", 1.0)
            except Unreachable:
                return False

    def wait_until_ready(self) -> None:
        """Wait until its health check is well."""
        wait_until(self.ready, 40)

    def right(self) -> bool:
        """Tell whether the canary's answer is right."""
        with self._fleet.inside():
            try:
                return canary.ask(self._url, self._golden, 3.0, random.Random(1)).right
            except (AnswerWrong, Refused, Unreachable, TooSlow):
                return False

    def answers(self, tokens: int) -> bool:
        """Tell whether a prompt of so many tokens is answered."""
        prompt = seeded("TOKENS", "INT32", (1, tokens), random.Random(2))
        with self._fleet.inside():
            try:
                api.infer(self._url, "chat", (prompt,), 5.0)
            except (AnswerWrong, Refused):
                return False
        return True

    def blocks(self) -> int:
        """Return how many blocks its metrics page tells, over all instances."""
        page = f'import urllib.request as u; print(u.urlopen("{BLOCKS["url"]}").read().decode())'
        rows = self.host.run(["python3", "-c", page], check=True).stdout.splitlines()
        return int(sum(float(row.split()[-1]) for row in rows if row.startswith("lab_kv_cache_blocks{")))


@contextmanager
def serving(fleet: Bench, host: Host, share: float | None = None) -> Iterator[Served]:
    """Start Triton, with a share of GPU memory for its KV cache where one is given; stop it afterwards."""
    folder = f"{_UNITS}/triton.service.d"
    if share is not None:
        sh(host, f"mkdir -p {folder}; printf '[Service]\\nEnvironment={SHARE}={share}\\n' > {folder}/site.conf")
        sh(host, "systemctl daemon-reload")
    host.run(["systemctl", "start", "triton"], check=True)
    try:
        yield Served(fleet, host)
    finally:
        host.agent("undo", {"all": True}, timeout_s=90)
        sh(host, f"systemctl stop triton; rm -rf {folder}; systemctl daemon-reload")


@contextmanager
def beside(host: Host, name: str = "cuda-user", before: str = "", extra: str = "") -> Iterator[str]:
    """Run the small unit that allocates all the time; give its name."""
    with unit(host, name, _USER, f"ExecStart={before}/usr/bin/python3 /opt/{name}.py\n{extra}"):
        wait_until(lambda: codes(host, name)[-1:] == ["0"], 20)
        yield f"{name}.service"


@contextmanager
def unit(host: Host, name: str, program: str, service: str) -> Iterator[str]:
    """Run a unit of one Python file; give its name."""
    host.run(["tee", f"/opt/{name}.py"], program, check=True)
    host.run(["tee", f"{_UNITS}/{name}.service"], _SERVICE.format(service), check=True)
    sh(host, f"systemctl daemon-reload; systemctl enable --quiet --now {name}")
    try:
        yield f"{name}.service"
    finally:
        host.agent("undo", {"all": True}, timeout_s=90)
        sh(host, f"systemctl disable --quiet --now {name}; rm /opt/{name}.py {_UNITS}/{name}.service")
        sh(host, "systemctl daemon-reload")


def codes(host: Host, name: str) -> list[str]:
    """Return what CUDA answered to the small unit lately."""
    return sh(host, f"journalctl --quiet --unit {name} --output=cat --lines=5 | grep -E '^[0-9]+$' || true").split()


def preload(host: Host, shim: Library) -> dict[str, Any]:
    """Put the library there that this machine's compiler built: the hosts have none."""
    path = "/usr/lib/chaosgpu-cuda-errors.so"
    with open(shim.path, "rb") as file:  # noqa: PTH123 (read as a whole)
        content = file.read()
    assert hashlib.sha256(content).hexdigest() == shim.sha256
    host.run(["sh", "-c", f"python3 -c 'import sys; open(\"{path}\", \"wb\").write(bytes.fromhex(sys.stdin.read()))'"],
             content.hex(), check=True)  # fmt: skip
    return {"path": path, "sha256": shim.sha256}


def loaded(host: Host, name: str) -> bool:
    """Tell whether any process of the unit has a library of ours in its memory."""
    script = (
        f"for p in $(systemctl show -p ControlGroup --value {name} | sed 's#^#/sys/fs/cgroup#; s#$#/cgroup.procs#' | "
        "xargs cat 2>/dev/null); do grep -l chaosgpu-cuda-errors /proc/$p/maps; done; true"
    )
    return bool(sh(host, script).strip())


def drop_ins(host: Host) -> str:
    """List what is left of ours among the runtime drop-ins and toggles."""
    return sh(host, "ls -d /run/systemd/system/*.d/zz-chaosgpu-* /run/chaosgpu-cuda-errors-* 2>/dev/null || true")
