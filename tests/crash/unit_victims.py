# SPDX-License-Identifier: Apache-2.0
"""The unit that each fault breaks on a test host: as small as the fault's own proof allows.

The five plain faults hit a `sleep`. A KV cache is a shell that tells its blocks in its log, as a server does. CUDA
errors and a driver's library hit one Python process that allocates on the simulated GPU, a killed process is one that
holds memory there as a user of its own, and a CUDA library hits one that loads it by its name. Packages are a driver's
with a `sleep` beside them that must live on. Real servers are in `tests/bench`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.agent.values import JsonObject, JsonValue
from chaosgpu.selfdrill.host import BOUND_S, Times

UNIT = "struck.service"
PROGRAM = Path("/opt/struck")
TOLD = Path("/run/struck-told")  # what the program says of itself, for the look behind the agent's back
SHIM = Path("/usr/lib/chaosgpu-cuda-errors.so")
# A driver's library of another version, a CUDA library as the unit finds it, and one that is to come before it.
OTHER_DRIVER = Path("/opt/other-driver/libcuda.so.575.57.08")
TOOLKIT = Path("/opt/toolkit/libcusparse.so.12")
OTHER_TOOLKIT = Path("/opt/other-toolkit/libcusparse.so.12")
# The driver's packages: as they are on the host, what they are brought to, and the site's own pin of one.
OLD, FIRST, LATER = "570.172.08-1", "580.65.06-1", "580.95.05-1"
PACKAGE = "nvidia-persistenced"  # one of them that needs no other
DEB = f"/srv/driver/{PACKAGE}_{{}}_amd64.deb"
SITE = Path("/etc/apt/preferences.d/site")
_BACK_WITHIN_S = 10.0
_BLOCKS = f'#!/bin/sh\necho "$KV_SHARE" > {TOLD}\necho "# GPU blocks: $KV_SHARE"\nexec sleep infinity\n'
_CUDA = f"""\
#!/usr/bin/python3 -S
import ctypes, os, time
cuda = ctypes.CDLL("libcuda.so.1")
context, at = ctypes.c_void_p(), ctypes.c_uint64()
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
assert not cuda.cuCtxSetCurrent(context)
while True:
    code = cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(4096))
    with open("{TOLD}.new", "w") as file:
        file.write(str(code))
    os.replace("{TOLD}.new", "{TOLD}")  # whoever looks meanwhile finds a whole word
    code or cuda.cuMemFree_v2(at)
    time.sleep(0.05)
"""
USER = "games"  # nobody else's on a test host
_HOLDS = f"""\
#!/usr/bin/python3 -S
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
context, at = ctypes.c_void_p(), ctypes.c_uint64()
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
assert not cuda.cuCtxSetCurrent(context)
assert not cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(1 << 28))
with open("{TOLD}", "w") as file:
    file.write("it holds memory")
time.sleep(100000)
"""
_LOADS = f"""\
#!/usr/bin/python3 -S
import ctypes, time
ctypes.CDLL("{TOOLKIT.name}")
with open("/proc/self/maps") as maps, open("{TOLD}", "w") as file:
    file.write(next(line.split()[5] for line in maps if "libcusparse" in line))
time.sleep(100000)
"""
# A service with a file of its own that it misses: its log stays open, and what is not there it makes anew, empty.
DATA = Path("/var/lib/struck")
INDEX = DATA / "segment" / "index"
_KEEPS = f"""\
#!/bin/sh
cd {DATA} && exec 3>>log
mkdir -p {INDEX.parent}; [ -e {INDEX} ] || echo empty > {INDEX}
echo "it is up" > {TOLD}
exec sleep infinity
"""
_DATA = f"rm -rf {DATA}; mkdir -p {INDEX.parent}; seq 20000 > {INDEX}; touch -d yesterday {INDEX}; touch {DATA}/log"
# On a busy machine an apply takes seconds here: it asks systemd a dozen times.
_FAST = Times(apply_s=8.0, outlasts_s=20.0, then_s=6.0)
SLOW_BOUND_S = BOUND_S + _BACK_WITHIN_S  # a service that has to start anew may take as long as it was told
_SLOW = Times(apply_s=12.0, outlasts_s=30.0, then_s=6.0, bound_s=SLOW_BOUND_S)
# Its undo waits for a stop and for a start.
_FILES = Times(apply_s=14.0, outlasts_s=30.0, then_s=6.0, bound_s=SLOW_BOUND_S + _BACK_WITHIN_S)
# Killing asks systemd for nothing but the keeper and the timer.
_KILLED = Times(apply_s=6.0, outlasts_s=20.0, then_s=4.0, bound_s=SLOW_BOUND_S)
# apt is asked five times on the way there. The way back may take as long as it was told.
_PACKAGES_BACK_WITHIN_S = 20.0
PACKAGES_BOUND_S = BOUND_S + _PACKAGES_BACK_WITHIN_S
_PACKAGES = Times(apply_s=18.0, outlasts_s=40.0, then_s=5.0, bound_s=PACKAGES_BOUND_S)
_HELD = f"""\
apt-mark hold nvidia-open nvidia-fabricmanager
printf 'Package: nvidia-open\\nPin: version {OLD}\\nPin-Priority: 1000\\n' > {SITE}
"""
_FREE = f"apt-mark unhold nvidia-open nvidia-fabricmanager; rm -f {SITE}"


@dataclass(frozen=True)
class Victim:
    """What the unit runs, what the fault is told, and what may not change: an exact undo keeps the same process."""

    params: JsonObject = field(default_factory=dict)
    program: str = ""
    environment: str = ""
    exact: bool = False
    opens: bool = False  # whether it is looked at what the unit's processes may open
    user: str = ""  # whose the process is; one with a user of its own is looked for on the GPU
    packages: str = ""  # what makes the driver's packages ready, in a shell; they are looked at, too
    data: str = ""  # what makes its files, in a shell; they are looked at, too
    times: Times = _SLOW

    @property
    def on_disk(self) -> bool:
        """Tell whether the fault refuses an agent whose records are in memory."""
        return bool(self.packages or self.data)

    def service(self) -> str:
        """Return the unit's file; it may be started as often as one likes."""
        start = PROGRAM if self.program else "/bin/sleep infinity"
        user = f"User={self.user}" if self.user else ""
        lines = ["[Unit]", "StartLimitIntervalSec=0", "[Service]", f"ExecStart={start}", user, self.environment]
        return "\n".join((*lines, "[Install]", "WantedBy=multi-user.target", ""))


def _back(**params: JsonValue) -> JsonObject:
    return {"unit": UNIT, "back_within_s": _BACK_WITHIN_S, **params}


def bound_s(fault: str) -> float:
    """Return how late after its deadline it may be: more where its undo has to wait for a service or for packages."""
    found = victims("").get(fault)
    return BOUND_S if found is None else found.times.bound_s


def victims(shim_sha256: str) -> dict[str, Victim]:
    """Return one for each fault of a unit."""
    shrink = _back(
        blocks={"log": True, "pattern": r"^# GPU blocks: (\d+)$"}, environment={"name": "KV_SHARE", "value": "4000"}
    )
    errors = _back(
        code=700, calls=["alloc"], settle_s=0, traffic_within_s=5, library={"path": str(SHIM), "sha256": shim_sha256}
    )
    killed: JsonObject = {
        "gpu": 0, "allow_index": True, "user": USER, "restored_by": {"unit": UNIT}, "back_within_s": _BACK_WITHIN_S,
    }  # fmt: skip
    files: JsonObject = _back(files=[str(INDEX)])
    within: JsonObject = {"back_within_s": _PACKAGES_BACK_WITHIN_S}
    install: JsonObject = {**within, "packages": {"nvidia-open": LATER}, "guard": True}
    unattended: JsonObject = {**within, "packages": ["nvidia-open"]}
    return {
        "gpu.process.kill": Victim(killed, _HOLDS, times=_KILLED, user=USER),
        "package.install": Victim(install, exact=True, times=_PACKAGES, packages=_HELD),
        "package.unattended": Victim(unattended, exact=True, times=_PACKAGES, packages=_FREE),
        "unit.stop": Victim(_back()),
        "unit.kill": Victim(_back()),
        "unit.freeze": Victim({"unit": UNIT}, exact=True, times=_FAST),
        "unit.gpu.deny": Victim(_back(), exact=True, opens=True, times=_FAST),
        "unit.gpu.hide": Victim(_back()),
        "unit.kv_cache.shrink": Victim(shrink, _BLOCKS, "Environment=KV_SHARE=9000"),
        "unit.cuda.errors": Victim(errors, _CUDA),
        "unit.files.vanish": Victim({**files, "folders": True}, _KEEPS, data=_DATA, times=_FILES),
        "unit.files.damage": Victim({**files, "bytes": 9}, _KEEPS, data=_DATA, times=_FILES),
        "library.mismatch": Victim(_back(files=[str(OTHER_DRIVER)], loads_within_s=5), _CUDA),
        "library.shadow": Victim(
            _back(file=str(OTHER_TOOLKIT), loads_within_s=5), _LOADS, f"Environment=LD_LIBRARY_PATH={TOOLKIT.parent}"
        ),
    }
