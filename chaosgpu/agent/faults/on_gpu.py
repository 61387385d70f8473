# SPDX-License-Identifier: Apache-2.0
"""What every fault on a GPU shares: which GPU is meant, whether it is fit for a fault, and questions to the driver."""

from dataclasses import dataclass
from typing import Callable, List, Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest, DriverFailed, Refused
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = [
    "GPU_KEYS",
    "MIB",
    "Gpu",
    "OnGpu",
    "answer_object",
    "ask",
    "gpu_of",
    "parse_gpu",
    "refuse_unhealthy",
    "simulator",
    "uuid_in",
    "wait_until",
    "whole_answer",
]

GPU_KEYS = frozenset({"gpu", "allow_index"})
MIB = 1 << 20
_NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND = 3, 4, 13


@dataclass(frozen=True)
class Gpu:
    """The GPU as the experiment names it."""

    name: str
    allow_index: bool


@dataclass(frozen=True)
class OnGpu:
    """The parameters of a fault on one GPU; each fault adds its own."""

    gpu: Gpu


def parse_gpu(raw: JsonMapping) -> Gpu:
    """Read `gpu` (UUID or PCI bus id) and `allow_index`."""
    named = raw.get("gpu")
    if isinstance(named, int) and not isinstance(named, bool):
        named = str(named)
    gpu = Gpu(values.text({"gpu": named}, "gpu"), values.flag(raw, "allow_index", default=False))
    if gpu.name.isdecimal() and not gpu.allow_index:
        raise BadRequest(
            f"gpu is the index {gpu.name}, and indices change: name the GPU by UUID or PCI bus id, "
            "or set allow_index to true."
        )
    return gpu


def gpu_of(gpu: Gpu, context: Context) -> JsonObject:
    """Find it on this host: {"uuid", "pci_bus_id", "index", "name"}."""
    return _object(context.driver.call("find_gpu", gpu.name, gpu.allow_index), "find_gpu")


def uuid_in(source: JsonMapping) -> str:
    """Return the UUID in a driver's answer or in a lease's record."""
    return values.text(source, "uuid")


def ask(context: Context, what: str, call: str, *arguments: JsonValue) -> JsonValue:
    """Ask the driver; where the product or our rights do not suffice, refuse with a sentence that names `what`."""
    try:
        return context.driver.call(call, *arguments)
    except DriverFailed as error:
        if error.code in (_NOT_SUPPORTED, _FUNCTION_NOT_FOUND):
            raise Refused(f"This GPU or its driver does not support {what}. {error} Nothing was changed.") from error
        if error.code == _NO_PERMISSION:
            raise Refused(f"Only root may do this: {what}. {error} Nothing was changed.") from error
        raise


def answer_object(context: Context, what: str, call: str, *arguments: JsonValue) -> JsonObject:
    """Ask the driver for an object."""
    return _object(ask(context, what, call, *arguments), call)


def whole_answer(source: JsonMapping, key: str) -> int:
    """Read a whole number out of a driver's answer."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DriverFailed(f"The driver gave {value!r} as {key}, where a whole number was expected.")
    return value


def refuse_unhealthy(uuid: str, context: Context) -> None:
    """Refuse a GPU that something is wrong with already: nobody could tell our fault from its own."""
    found = context.driver.call("what_ails", uuid)
    ails: List[str] = [str(one) for one in found] if isinstance(found, list) else []
    if ails:
        raise Refused(f"GPU {uuid} is unhealthy already: {'; '.join(ails)}. Heal it first; nothing was changed.")


def simulator(context: Context) -> Optional[str]:
    """Return the simulator's instance behind NVML, None for a real driver: CUDA must come from the same place."""
    return values.optional_text(_object(context.driver.call("library_in_use"), "library_in_use"), "simulator")


def wait_until(true: Callable[[], bool], within_s: float, every_s: float, context: Context) -> bool:
    """Ask again and again until it is true; False where the time passed first."""
    end = context.clock.boottime_s() + within_s
    while not true():
        if context.clock.boottime_s() >= end:
            return False
        context.clock.sleep(every_s)
    return True


def _object(answer: JsonValue, call: str) -> JsonObject:
    if not isinstance(answer, dict):
        raise DriverFailed(f"The driver call {call} answered {answer!r}, where an object was expected.")
    return answer
