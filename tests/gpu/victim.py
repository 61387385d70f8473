# SPDX-License-Identifier: Apache-2.0
"""A program that needs a GPU and gives right answers or says why not: plain libcuda, nothing of this package.

victim.py lines UUID COUNT: one order as JSON a line, one answer a line; while it works it counts in the file COUNT.
victim.py http UUID PORT MIB [keep]: GET / takes MIB of memory for an answer (or has them from the start) and checks it.
victim.py hold UUID MIB: take memory and hold it for half a minute, whatever becomes of the one who asked.
"""

import ctypes
import hashlib
import json
import mmap
import os
import random
import select
import sys
import threading
import time
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MIB = 1 << 20
BLOCK = 1 << 16
OUT_OF_MEMORY = 2
FILL = 0x5A


class Broken(Exception):
    """A CUDA call failed; `code` is its number."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} answered {code}")
        self.code = code


class Device:
    """One GPU with a context of this process."""

    def __init__(self, uuid: str) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device, context = c_int(), c_void_p()
        for ordinal in range(16):
            raw = (ctypes.c_ubyte * 16)()
            self.call("cuDeviceGet", byref(device), ordinal)
            self.call("cuDeviceGetUuid_v2", raw, device)
            if bytes(raw).hex() == uuid.removeprefix("GPU-").replace("-", ""):
                break
        self.call("cuDevicePrimaryCtxRetain", byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.taken: list[c_uint64] = []

    def call(self, name: str, *arguments: object) -> None:
        """Call it; any other answer than success is raised."""
        code = getattr(self.cuda, name)(*arguments)
        if code:
            raise Broken(name, code)

    def take(self, mib: float) -> c_uint64:
        """Take device memory and write to all of it."""
        pointer, size = c_uint64(), int(mib * MIB)
        self.call("cuMemAlloc_v2", byref(pointer), c_size_t(size))
        self.taken.append(pointer)
        self.call("cuMemsetD8_v2", pointer, ctypes.c_ubyte(FILL), c_size_t(size))
        self.call("cuCtxSynchronize")
        return pointer

    def give(self) -> None:
        """Give back what was taken last."""
        self.call("cuMemFree_v2", self.taken.pop())

    def free_mib(self) -> int:
        """Return what is free as CUDA sees it."""
        free, total = c_size_t(), c_size_t()
        self.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value // MIB

    def is_right(self, pointer: c_uint64, mib: int, seed: int) -> bool:
        """Put seeded bytes at the start, read start and end back, and compare digest and fill."""
        sent = random.Random(seed).randbytes(BLOCK)
        self.call("cuMemcpyHtoD_v2", pointer, sent, c_size_t(BLOCK))
        start, end = ctypes.create_string_buffer(BLOCK), ctypes.create_string_buffer(BLOCK)
        self.call("cuMemcpyDtoH_v2", start, pointer, c_size_t(BLOCK))
        self.call("cuMemcpyDtoH_v2", end, c_uint64(pointer.value + mib * MIB - BLOCK), c_size_t(BLOCK))
        same = hashlib.sha256(start.raw).digest() == hashlib.sha256(sent).digest()
        return same and end.raw == bytes([FILL]) * BLOCK

    def answer(self, mib: int, seed: int) -> bool:
        """Give one answer with memory taken for it alone."""
        pointer = self.take(mib)
        try:
            return self.is_right(pointer, mib, seed)
        finally:
            self.give()


def _do(device: Device, order: dict[str, int | str]) -> dict[str, object]:
    mib = int(order.get("mib", 0))
    try:
        if order["do"] == "take":
            device.take(mib)
        elif order["do"] == "give":
            device.give()
        elif order["do"] == "answer":
            return {"right": device.answer(mib, int(order.get("seed", 1))), "code": 0}
        elif order["do"] == "free":
            return {"free_mib": device.free_mib(), "code": 0}
    except Broken as broken:
        return {"code": broken.code, "why": str(broken), "right": False}
    return {"code": 0}


def lines(uuid: str, count_file: str) -> None:
    """Obey until standard input ends; between the orders, work if told so, and count each piece of work."""
    device = Device(uuid)
    with Path(count_file).open("r+b") as file:
        count = mmap.mmap(file.fileno(), 8)
    sys.stdout.write('{"ready": true}\n')
    sys.stdout.flush()
    working, done = False, 0
    while True:
        if select.select([sys.stdin], [], [], 0 if working else None)[0]:
            line = sys.stdin.readline()
            if not line:
                return
            order = json.loads(line)
            working = order["do"] == "work" or (working and order["do"] != "rest")
            sys.stdout.write(json.dumps(_do(device, order)) + "\n")
            sys.stdout.flush()
        elif working:
            device.answer(4, done)
            done += 1
            count[:] = done.to_bytes(8, "little")


def http(uuid: str, port: int, mib: int, *, kept: bool) -> None:
    """Answer each GET with {"right", "code"}; `kept` memory is there from the start, as careful services have it."""
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    device = Device(uuid)
    memory = device.take(mib) if kept else None
    numbers = iter(range(1 << 30))

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seed, code = next(numbers), 0
            try:
                right = device.answer(mib, seed) if memory is None else device.is_right(memory, mib, seed)
            except Broken as broken:
                right, code = False, broken.code
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"right": right, "code": code}).encode())

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    HTTPServer(("127.0.0.1", port), Answering).serve_forever()


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os._exit(0)


def hold(uuid: str, mib: int) -> None:
    """Take it and stay for a while."""
    Device(uuid).take(mib)
    sys.stdout.write("holds\n")
    sys.stdout.flush()
    time.sleep(30)


if __name__ == "__main__":
    if sys.argv[1] == "lines":
        lines(sys.argv[2], sys.argv[3])
    elif sys.argv[1] == "hold":
        hold(sys.argv[2], int(sys.argv[3]))
    else:
        http(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), kept=sys.argv[5:] == ["keep"])
