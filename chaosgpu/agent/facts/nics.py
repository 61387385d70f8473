# SPDX-License-Identifier: Apache-2.0
"""Network and InfiniBand devices with driver and firmware, as the kernel tells them."""

import fcntl
import socket
import struct
from functools import partial
from typing import Callable, Tuple

from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["ask_driver", "nics"]

_SIOCETHTOOL = 0x8946
_GDRVINFO = 3
_INFO = struct.Struct("=I32s32s32s32s32s12sIIIII")  # struct ethtool_drvinfo
_REQUEST = struct.Struct("16sP16x")  # struct ifreq with a pointer in it

Info = Callable[[str], Tuple[str, str]]


def ask_driver(name: str) -> Tuple[str, str]:
    """Return a device's driver and firmware, as `ethtool -i` does; it needs no rights."""
    import ctypes  # noqa: PLC0415 (5 ms, and only this needs it)

    buffer = ctypes.create_string_buffer(_INFO.size)
    struct.pack_into("=I", buffer, 0, _GDRVINFO)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            fcntl.ioctl(asked, _SIOCETHTOOL, _REQUEST.pack(name.encode(), ctypes.addressof(buffer)))
        except OSError as error:
            raise UnknownFact(f"the driver of {name} does not tell its firmware ({error.strerror})") from error
    _, driver, _, firmware, *_ = _INFO.unpack(buffer.raw)
    return _text(driver), _text(firmware)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode(errors="replace").strip()


def nics(tree: Tree, info: Info = ask_driver) -> Answer:
    """Return each device that is hardware, by name: {"driver", "firmware"} and, of InfiniBand, {"board"}."""
    answer = Answer()
    for name in tree.some_names("/sys/class/net"):
        if tree.exists(f"/sys/class/net/{name}/device"):
            put(answer, name, partial(_ethernet, tree, name, info, answer))
    for name in tree.some_names("/sys/class/infiniband"):
        entry = Answer()
        for key, file in (("firmware", "fw_ver"), ("board", "board_id")):
            put(entry, key, partial(tree.text, f"/sys/class/infiniband/{name}/{file}"))
        answer.values[name] = entry.values
        answer.unknown.update({f"{name}.{key}": why for key, why in entry.unknown.items()})
    return answer


def _ethernet(tree: Tree, name: str, info: Info, answer: Answer) -> JsonValue:
    if not tree.is_host and info is ask_driver:
        raise UnknownFact("its driver can only be asked on the host itself")
    driver, firmware = info(name)
    entry: JsonObject = {"driver": driver}
    if firmware and firmware != "N/A":
        entry["firmware"] = firmware
    else:
        answer.unknown[f"{name}.firmware"] = f"the driver {driver} tells no firmware"
    return entry
