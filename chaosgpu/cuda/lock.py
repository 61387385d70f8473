# SPDX-License-Identifier: Apache-2.0
"""The lock file: what the hosts of a fleet should be, in YAML that people write and review."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from chaosgpu.cuda.flat import Value

__all__ = ["ExceptionFor", "Group", "Lock", "Locked", "LookAtAlso", "flat_lock"]

type Text = Annotated[str, Field(min_length=1)]
type Texts = list[Text]
type ByName = dict[str, Text]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kernel(_Strict):
    """The kernel and what it runs on."""

    release: Text | None = None
    command_line: Text | None = None
    distribution: Text | None = None
    microcode: Text | None = None
    machine: Text | None = None
    firmware: Text | None = None


class Driver(_Strict):
    """The NVIDIA driver: as module in the kernel, module on the disk, library, and package."""

    module: Text | None = None
    module_on_disk: Text | None = None
    flavour: Literal["open", "proprietary"] | None = None
    library: Text | None = None
    nvml_library: Text | None = None
    package_name: Text | None = None
    package: Text | None = None
    module_package_name: Text | None = None
    module_package: Text | None = None
    strays: Texts | None = None


class Cuda(_Strict):
    """CUDA on the disk."""

    toolkits: Texts | None = None
    default: Text | None = None
    forward_compat: Texts | None = None
    libraries: dict[str, Texts] | None = None


class Apt(_Strict):
    """What holds packages, and what moves them by itself: of apt, and of dnf, whose excludes are the pins."""

    holds: Texts | None = None
    pins: Texts | None = None
    unattended_upgrades: bool | None = None


class Containers(_Strict):
    """What containers are given."""

    toolkit: Text | None = None
    runtime_config: Text | None = None
    cdi_driver: Text | None = None


class Environment(_Strict):
    """One Python environment."""

    python: Text | None = None
    packages: ByName | None = None


class Engine(_Strict):
    """One TensorRT engine."""

    tensorrt: Text | None = None


class Triton(_Strict):
    """The host's own Triton server."""

    version: Text | None = None


class Units(_Strict):
    """Services that the driver stands on, as systemd holds them."""

    fabric_manager: Text | None = None
    persistence_daemon: Text | None = None
    dcgm: Text | None = None
    upgrade_timer: Text | None = None


class Nic(_Strict):
    """One network device."""

    driver: Text | None = None
    firmware: Text | None = None
    board: Text | None = None


class Gpus(_Strict):
    """What all GPUs of a host have in common; a list where they differ, each value with its count."""

    count: int | None = None
    product: Text | Texts | None = None
    compute_capability: Text | Texts | None = None
    memory_mib: int | Texts | None = None
    vbios: Text | Texts | None = None
    inforom_image: Text | Texts | None = None
    inforom_oem: Text | Texts | None = None
    inforom_ecc: Text | Texts | None = None
    inforom_power: Text | Texts | None = None
    gsp_firmware: Text | Texts | None = None
    pcie_generation: int | Texts | None = None
    pcie_width: int | Texts | None = None
    persistence: bool | Texts | None = None
    compute_mode: Text | Texts | None = None
    ecc: bool | Texts | None = None
    ecc_pending: bool | Texts | None = None
    mig: bool | Texts | None = None
    mig_pending: bool | Texts | None = None
    power_limit_watts: float | Texts | None = None
    default_power_limit_watts: float | Texts | None = None
    application_sm_mhz: int | Texts | None = None
    application_memory_mhz: int | Texts | None = None
    max_sm_mhz: int | Texts | None = None
    max_memory_mhz: int | Texts | None = None


class Locked(_Strict):
    """The values that are locked; what is not named may be anything."""

    kernel: Kernel | None = None
    driver: Driver | None = None
    cuda: Cuda | None = None
    packages: ByName | None = None
    apt: Apt | None = None
    containers: Containers | None = None
    images: ByName | None = None
    services: dict[str, dict[str, Texts]] | None = None
    environments: dict[str, Environment] | None = None
    engines: dict[str, Engine] | None = None
    triton: Triton | None = None
    units: Units | None = None
    nics: dict[str, Nic] | None = None
    gpus: Gpus | None = None


class Group(_Strict):
    """Hosts that should be alike, by name, and what they should be."""

    hosts: Texts = Field(min_length=1)
    locked: Locked


class ExceptionFor(_Strict):
    """What one host may be instead, why, and until when."""

    why: Text
    until: dt.date | None = None
    locked: Locked


class LookAtAlso(_Strict):
    """What a host cannot know by itself that it should look at."""

    services: Texts = []
    environments: ByName = {}
    engines: Texts = []
    triton: Text | None = None


class Lock(_Strict):
    """The whole file."""

    version: Literal[1]
    about: str = ""
    recorded: dt.date
    look_at: LookAtAlso = LookAtAlso()
    groups: dict[str, Group] = Field(min_length=1)
    exceptions: dict[str, ExceptionFor] = {}


def flat_lock(locked: Locked) -> dict[str, Value]:
    """Return the locked values by their whole names, as `flat` does with a host's."""
    return dict(_leaves("", locked.model_dump(exclude_none=True)))


def _leaves(prefix: str, source: Mapping[str, object]) -> Iterator[tuple[str, Value]]:
    for name, value in source.items():
        whole = f"{prefix}.{name}" if prefix else name
        if isinstance(value, Mapping):
            yield from _leaves(whole, value)
        elif isinstance(value, list):
            yield whole, tuple(str(one) for one in value)
        elif isinstance(value, (str, int, float, bool)):
            yield whole, value
