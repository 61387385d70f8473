# SPDX-License-Identifier: Apache-2.0
"""Whether a driver runs a CUDA: wholly, with limits, by the forward-compatibility package, not at all, or unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from chaosgpu.cuda.compatibility import Compatibility, CudaDriver
from chaosgpu.cuda.versions import Numbers, numbers

__all__ = ["Support", "Verdict", "driver_supports"]


class Support(StrEnum):
    """How a driver runs a CUDA, the best first."""

    FULL = "full"
    MINOR = "minor"
    FORWARD = "forward"
    UNKNOWN = "unknown"
    NONE = "none"


@dataclass(frozen=True)
class Verdict:
    """The answer with its reason as a sentence."""

    support: Support
    why: str


def driver_supports(
    data: Compatibility, driver: str, cuda: str, forward_compat: Mapping[str, str] | None = None
) -> Verdict:
    """Judge a driver for a CUDA.

    `forward_compat` is the driver version of each forward-compatibility package on the host, by its CUDA, as the facts
    have it. Whether a GPU is of the data centre, which that needs, is not in the data: it is named in the reason.
    """
    wanted, have = numbers(cuda), numbers(driver)
    made_for, newer = _made_for(data, wanted), _first_newer(data, wanted)
    for known in (made_for, newer):
        if known is not None and have >= numbers(known.driver):
            said = f"driver {driver} is no older than {known.driver}, which was made for CUDA {known.cuda}"
            return Verdict(Support.FULL, f"{said}: {data.cited(known.source)}")
    compat = _forward(data, driver, cuda, forward_compat or {})
    if compat is not None:
        return compat
    floor = next((entry for entry in data.minor_versions if entry.major == wanted[0]), None)
    if floor is None:
        return Verdict(Support.UNKNOWN, f"the data (of {data.recorded}) knows no CUDA {wanted[0]}")
    if have < numbers(floor.driver):
        why = f"CUDA {cuda} needs driver {floor.driver} at the least, and {driver} is older: {data.cited(floor.source)}"
        return Verdict(Support.NONE, why)
    if made_for is None:
        least = f"{driver} runs CUDA {wanted[0]} with limits at the least"
        return Verdict(
            Support.UNKNOWN, f"the data (of {data.recorded}) does not know the driver of CUDA {cuda}; {least}"
        )
    return Verdict(
        Support.MINOR,
        f"CUDA {cuda} was made for driver {made_for.driver}; the older {driver} runs it with limits, and does not take "
        f"what a newer compiler left to be compiled at start (PTX): {data.cited(floor.source)}",
    )


def _made_for(data: Compatibility, wanted: Numbers) -> CudaDriver | None:
    """Return the entry of a CUDA; of 11.7 alone it is that of the first 11.7 that is known."""
    known = [entry for entry in data.cuda_drivers if numbers(entry.cuda) == wanted]
    known = known or [entry for entry in data.cuda_drivers if numbers(entry.cuda)[: len(wanted)] == wanted]
    return min(known, key=lambda one: numbers(one.cuda), default=None)


def _first_newer(data: Compatibility, wanted: Numbers) -> CudaDriver | None:
    """Return the first CUDA after this one: its driver runs this one, too."""
    known = [entry for entry in data.cuda_drivers if numbers(entry.cuda) > wanted]
    return min(known, key=lambda one: numbers(one.cuda), default=None)


def _forward(data: Compatibility, driver: str, cuda: str, installed: Mapping[str, str]) -> Verdict | None:
    """Judge the forward-compatibility package of this CUDA, if the host has one that may stand on this driver."""
    minor = ".".join(cuda.split(".")[:2])
    allowed = next((entry for entry in data.forward_compat if entry.cuda == minor), None)
    if minor not in installed or allowed is None or numbers(driver)[0] not in allowed.branches:
        return None
    package = installed[minor]
    if numbers(driver) > numbers(package):
        return None
    said = f"CUDA {cuda} runs on driver {driver} by its forward-compatibility package {package}"
    return Verdict(Support.FORWARD, f"{said}, if the GPU is one of the data centre: {data.cited(allowed.source)}")
