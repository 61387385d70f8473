# SPDX-License-Identifier: Apache-2.0
"""One set of simulated GPUs: make it, run processes on it, change it, look at it, remove it."""

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument, LabFailed
from chaosgpu.sim import build
from chaosgpu.sim import profile as profiles
from chaosgpu.sim.document import Document, Gpu, Stable
from chaosgpu.sim.inject import INJECTIONS
from chaosgpu.sim.native import Native

__all__ = ["Instance", "Value", "create", "default_directory", "open_state", "scratch_directory"]

type Value = str | int | float | bool | Sequence[int]

_MAX_GPUS = 16
# Bus numbers as an eight-way server has them; the second eight follow in another root complex.
_BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF, 0x07, 0x0F, 0x2B, 0x38, 0x47, 0x4E, 0x87, 0xB7)


@dataclass(frozen=True)
class Instance:
    """Simulated GPUs that any number of processes share through one state file."""

    state: Path
    libraries: Path

    def environment(self) -> dict[str, str]:
        """Variables under which a process finds these GPUs; the rest of the environment is the caller's to add."""
        library_path = str(self.libraries / "lib")
        inherited = [part for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part]
        others = [part for part in inherited if Path(part) != self.libraries / "lib"]
        folders = [part for part in os.environ.get("PATH", os.defpath).split(":") if part]
        binaries = str(self.libraries / "bin")
        return {
            "CHAOSGPU_SIM_STATE": str(self.state),
            "LD_LIBRARY_PATH": ":".join([library_path, *others]),
            "PATH": ":".join([binaries, *(part for part in folders if part != binaries)]),
        }

    def show(self) -> list[Gpu]:
        """Every GPU as plain JSON: `identity`, `settings`, `faults`, `counters`, `readings`, `processes` and more."""
        gpus: list[Gpu] = self.document()["gpus"]
        return gpus

    def document(self) -> Document:
        """Everything, the machine as well as the GPUs, as plain JSON."""
        document: Document = json.loads(self._native().show())
        return document

    def settings(self) -> list[Stable]:
        """Give what does not change by itself, for comparing before with after, one dict a GPU.

        Settings, faults and counters by field name, `memory_limits`, and `memory_by_process`: bytes by pid.
        """
        stable: list[Stable] = []
        for gpu in self.show():
            held = {str(entry["pid"]): entry["context_bytes"] + entry["allocated_bytes"] for entry in gpu["processes"]}
            fields = {**gpu["settings"], **gpu["faults"], **gpu["counters"]}
            limits = {"memory_limits": gpu["memory_limits"], "memory_by_process": held}
            stable.append({"uuid": gpu["identity"]["uuid"], **fields, **limits})
        return stable

    def set(self, gpu: int, **fields: Value) -> None:
        """Set fields of one GPU by their names in `show()`; raises BadArgument for an unknown name or value."""
        self._set(gpu, fields)

    def set_system(self, **fields: Value) -> None:
        """Set fields of the machine: `driver_loaded`, `kernel_driver_version`, `simulated_root`, `kmsg_path` and so on.

        `simulated_root`: 1 everybody is root to the driver, 0 nobody is, -1 who really is.
        """
        self._set(-1, fields)

    def inject(self, what: str, gpu: int = -1, **options: Value) -> None:
        """Make something go wrong.

        `xid` (gpu, `xid`, `pid`, `process`); `lost` (gpu): Xid 79 and every call fails; `reset` (gpu): all is well
        again and pending modes count; `event` (gpu, `kind`, `data`); `recovery_action` (gpu, `action`): field 230 and
        its event; `hang` (`function`, `hang_s`; 0 ends it); `return` (`function`, `code`; with a gpu, only there);
        `ignore` (`function`): it says yes and does nothing, for setters; `driver_unloaded`; `driver_loaded`;
        `version_mismatch` (`version`).
        A function is named as in C, or `*` for all.
        """
        injection = INJECTIONS.get(what)
        if injection is None:
            raise BadArgument(f"There is nothing called {what!r} to inject; known are {', '.join(INJECTIONS)}.")
        try:
            injection(self._native(), gpu, **options)
        except TypeError as error:
            raise BadArgument(f"Could not inject {what!r}: {error}.") from error

    def remove(self) -> None:
        """Take the state file away; processes that still use it keep what they have mapped."""
        self.state.unlink(missing_ok=True)

    def _set(self, gpu: int, fields: Mapping[str, Value]) -> None:
        native = self._native()
        for name, value in fields.items():
            native.set(gpu, name, _as_text(value))

    def _native(self) -> Native:
        return Native(self.libraries, self.state)


def create(
    directory: Path,
    profile: str,
    gpus: int,
    *,
    seed: int | None = None,
    device_nodes: Path | None = None,
    missing_symbols: Sequence[str] = (),
    simulated_root: bool | None = None,
    name: str = "gpus",
) -> Instance:
    """Make `gpus` simulated GPUs of one product, with their state in `directory/NAME.state`.

    `seed` makes UUIDs and serial numbers the same each time; without it they are random.
    `device_nodes` is a folder: nodes nvidia0, nvidia1, …, nvidiactl are made in it where missing, and every client
    opens them as with the real driver. `missing_symbols` are functions that this driver is too old to have.
    `simulated_root` says whether callers count as root to the driver; None asks who they really are.
    """
    if not 1 <= gpus <= _MAX_GPUS:
        raise BadArgument(f"Between 1 and {_MAX_GPUS} GPUs can be simulated on one machine, not {gpus}.")
    product = profiles.load(profile)
    instance = Instance(directory / f"{name}.state", build.libraries(without=missing_symbols))
    numbers = random.Random(seed if seed is not None else os.urandom(16))  # noqa: S311 (names, not secrets)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if device_nodes is not None:
            _make_nodes(device_nodes, gpus)
    except OSError as error:
        raise LabFailed(f"The simulated GPUs could not be set up in {directory}: {error}.") from error
    native = Native(instance.libraries, instance.state)
    native.create(gpus)
    for index in range(gpus):
        instance.set(index, **product.gpu, **_own_fields(index, product, numbers))
        for function in product.not_supported:
            native.function(index, function, "not_supported", 1)
    instance.set_system(
        **product.system,
        profile=product.name,
        kernel_driver_version=product.system["driver_version"],
        driver_loaded=1,
        simulated_root=-1 if simulated_root is None else int(simulated_root),
        physics_speed=1,
        device_nodes=str(device_nodes.absolute()) if device_nodes is not None else "",
        instance=f"sim-{numbers.getrandbits(64):016x}",  # last: with it the state is whole and time begins to count
    )
    return instance


def _own_fields(index: int, product: profiles.Profile, numbers: random.Random) -> dict[str, Value]:
    """Give what one GPU does not share with the next."""
    digits = f"{numbers.getrandbits(96):024x}"
    bus = _BUSES[index]
    return {
        "uuid": f"GPU-5c0ffee0-{digits[:4]}-{digits[4:8]}-{digits[8:12]}-{digits[12:24]}",
        "serial": f"16{numbers.randrange(10**11):011d}",
        "pci_bus": bus,
        "pci_bus_id": f"00000000:{bus:02X}:00.0",
        "minor_number": index,
        "power_limit_mw": _number(product, "power_default_mw"),
        "temperature_celsius": -1,
        "power_mw": -1,
        "utilization_percent": -1,
        "ambient_celsius": 25,
    }


def _number(product: profiles.Profile, field: str) -> int:
    value = product.gpu[field]
    if not isinstance(value, int):
        raise LabFailed(f"The profile {product.name} gives no whole number for {field}.")
    return value


def _make_nodes(folder: Path, gpus: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for node in ("nvidiactl", "nvidia-uvm", *(f"nvidia{index}" for index in range(gpus))):
        path = folder / node
        if not path.exists():
            path.touch(mode=0o666)
            path.chmod(0o666)


def open_state(state: Path) -> Instance:
    """Take up an instance that is already there, by its state file; raises LabFailed when there is none."""
    if not state.is_file():
        raise LabFailed(f"There are no simulated GPUs at {state}; make some with `chaosgpu sim create`.")
    instance = Instance(state, build.libraries())
    instance.document()
    return instance


def default_directory() -> Path:
    """Where named instances live: /run/chaosgpu/sim for root, else below the user's runtime or state folder."""
    if os.geteuid() == 0:
        return Path("/run/chaosgpu/sim")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "chaosgpu" / "sim"
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "chaosgpu" / "sim"


def scratch_directory() -> Path | None:
    """Give a folder for what is gone after one run: where named instances live, else the system's own (None)."""
    try:
        default_directory().mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return default_directory()


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value)
    return ",".join(str(number) for number in value)
