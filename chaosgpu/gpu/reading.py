# SPDX-License-Identifier: Apache-2.0
"""One reading of a GPU, or of the host as a whole, from the agent."""

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.reading import Answer, taken
from chaosgpu.fleet.values import JsonObject, JsonValue, seconds

__all__ = ["Answer", "of_gpu", "of_host"]


def of_gpu(
    reading: str,
    gpu: str,
    hosts: str,
    timeout_s: float,
    allow_index: bool,
    *,
    lasts_s: float = 0.0,
    **params: JsonValue,
) -> Answer:
    """Take a reading of one GPU; `lasts_s` is the time that the reading itself takes and is added to the deadline."""
    named: object = gpu  # experiments are not typed
    if isinstance(named, bool) or not isinstance(named, (str, int)) or named == "":
        raise BadArgument(f"gpu must be a GPU's UUID or PCI bus id, not {gpu!r}; nothing was asked.")
    asked: JsonObject = {"gpu": gpu, "allow_index": allow_index, **params}
    return taken(reading, f"GPU {gpu} on {hosts}", asked, hosts, seconds("timeout_s", timeout_s) + lasts_s)


def of_host(reading: str, hosts: str, timeout_s: float) -> Answer:
    """Take a reading of the host as a whole."""
    return taken(reading, hosts, {}, hosts, timeout_s)
