# SPDX-License-Identifier: Apache-2.0
"""Xid lines of the kernel log, from /dev/kmsg or from a file in its format."""

import os
import re
import stat
from dataclasses import dataclass
from typing import Iterator, List, Optional, Tuple

_MOST_BYTES = 8 << 20
_RECORD_BYTES = 8192
_US_IN_S = 1e6
_FACILITY_SHIFT = 3

# The driver's own line is "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus."
# Injectors also write ".0" behind the device, MIG adds GPU and compute instance, journald may double "NVRM:".
XID_LINE = re.compile(
    r"NVRM: Xid \(PCI:(?P<bus>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.[0-7])?"
    r"(?: GPU-I:(?P<gpu_instance>\d+)(?: GPU-CI:(?P<compute_instance>\d+))?)?\): (?P<xid>\d+)(?:, (?P<rest>.*))?"
)
_RECORD = re.compile(r"(?P<priority>\d+),(?P<sequence>\d+),(?P<us>\d+),[^;]*;(?P<text>.*)")
_RAW = re.compile(r"(?:<(?P<priority>\d+)>)?(?P<text>.*)")
_WHO = re.compile(r"pid=(?P<pid>'?<?[\w-]+>?'?), name=(?P<name>[^,]*), (?P<text>.*)")


@dataclass(frozen=True)
class XidLine:
    """One Xid in the log. `from_kernel` is false where a program wrote the line: the kernel marks such lines."""

    sequence: int
    monotonic_s: Optional[float]
    from_kernel: Optional[bool]
    bus: str
    xid: int
    pid: Optional[int]
    process: Optional[str]
    text: str


def xid_lines(path: str) -> Tuple[List[XidLine], int]:
    """Return every Xid in the log, oldest first, and the sequence number that the next record will have.

    OSError where the log cannot be opened.
    """
    found: List[XidLine] = []
    next_sequence = 0
    for place, record in enumerate(_records(path)):
        sequence, line = _parsed(place, record)
        next_sequence = sequence + 1
        if line is not None:
            found.append(line)
    return found, next_sequence


def _records(path: str) -> Iterator[str]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            yield from _file_records(descriptor)
        else:
            yield from _device_records(descriptor)
    finally:
        os.close(descriptor)


def _file_records(descriptor: int) -> Iterator[str]:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        for line in file.read(_MOST_BYTES).splitlines():
            yield line.decode("utf-8", "replace")


def _device_records(descriptor: int) -> Iterator[str]:
    """One read of the device is one record; it never blocks, and records overwritten meanwhile are left out."""
    taken = 0
    while taken < _MOST_BYTES:
        try:
            record = os.read(descriptor, _RECORD_BYTES)
        except BlockingIOError:
            return
        except BrokenPipeError:
            continue
        if not record:
            return
        taken += len(record)
        yield record.decode("utf-8", "replace").split("\n", 1)[0]


def _parsed(place: int, record: str) -> Tuple[int, Optional[XidLine]]:
    whole = _RECORD.fullmatch(record)
    head = whole or _RAW.fullmatch(record)
    if head is None:
        return place, None
    sequence = int(whole.group("sequence")) if whole else place
    match = XID_LINE.search(head.group("text"))
    if match is None:
        return sequence, None
    priority = head.group("priority")
    who = _WHO.fullmatch(match.group("rest") or "")
    pid = who.group("pid").strip("'<>") if who else ""
    return sequence, XidLine(
        sequence=sequence,
        monotonic_s=int(whole.group("us")) / _US_IN_S if whole else None,
        from_kernel=None if priority is None else int(priority) >> _FACILITY_SHIFT == 0,
        bus=match.group("bus").lower(),
        xid=int(match.group("xid")),
        pid=int(pid) if pid.isdecimal() else None,
        process=who.group("name").strip("'<>") if who else None,
        text=who.group("text") if who else match.group("rest") or "",
    )
