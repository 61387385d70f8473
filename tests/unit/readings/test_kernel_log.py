# SPDX-License-Identifier: Apache-2.0
"""Xid lines as the driver, injectors and loggers write them."""

from pathlib import Path

import pytest

from chaosgpu.agent.readings.kernel_log import XidLine, xid_lines

LOST = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python3, GPU has fallen off the bus."


def one(tmp_path: Path, record: str) -> XidLine | None:
    log = tmp_path / "kmsg"
    log.write_text(record + "\n")
    lines, _ = xid_lines(str(log))
    return lines[0] if lines else None


def test_the_drivers_own_line_is_read_whole(tmp_path: Path) -> None:
    assert one(tmp_path, f"3,339,5140900,-;{LOST}") == XidLine(
        sequence=339,
        monotonic_s=5.1409,
        from_kernel=True,
        bus="0000:3b:00",
        xid=79,
        pid=1234,
        process="python3",
        text="GPU has fallen off the bus.",
    )


@pytest.mark.parametrize(
    ("message", "bus", "xid"),
    [
        ("NVRM: Xid (PCI:0000:3B:00.0): 13, pid=1, name=a, Graphics Exception", "0000:3b:00", 13),
        ("NVRM: NVRM: Xid (PCI:0000:c3:00): 48, pid=1, name=a, DBE", "0000:c3:00", 48),
        ("NVRM: Xid (PCI:0000:07:00 GPU-I:05): 43, pid=7, name=b, Ch 00000010", "0000:07:00", 43),
        ("NVRM: Xid (PCI:0000:07:00 GPU-I:05 GPU-CI:01): 31, pid=7, name=b, MMU Fault", "0000:07:00", 31),
        ("NVRM: Xid (PCI:0000:9d:00): 62, 2f83(5d4) 00000000 00000000", "0000:9d:00", 62),
        ("NVRM: Xid (PCI:0000:9d:00): 45", "0000:9d:00", 45),
        ("NVRM: Xid (PCI:00010000:9d:00): 45", "00010000:9d:00", 45),
        ("NVRM: Xid (PCI:0000:1b:00): 145, RLW_CTRL Nonfatal XC0 i0 Link 08 (0x00000004)", "0000:1b:00", 145),
    ],
)
def test_every_known_form_of_the_line_is_read(message: str, bus: str, xid: int, tmp_path: Path) -> None:
    line = one(tmp_path, f"4,1,1,-;{message}")
    assert line is not None
    assert (line.bus, line.xid) == (bus, xid)


@pytest.mark.parametrize(
    "message",
    [
        "NVRM: GPU at PCI:0000:3b:00: GPU-5c0ffee0",
        "NVRM: Xid (PCI:0000:3b): 79",
        "nvidia-modeset: Xid",
        "usb 1-1: new device",
        "",
    ],
)
def test_other_lines_are_not_xids(message: str, tmp_path: Path) -> None:
    assert one(tmp_path, f"4,1,1,-;{message}") is None


@pytest.mark.parametrize(("priority", "from_kernel"), [("3", True), ("11", False), ("14", False), ("0", True)])
def test_a_line_that_a_program_wrote_is_told_apart(priority: str, from_kernel: bool, tmp_path: Path) -> None:
    line = one(tmp_path, f"{priority},1,1,-;{LOST}")
    assert line is not None
    assert line.from_kernel is from_kernel


def test_a_bare_line_has_no_time_and_counts_by_its_place(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(f"hello\n<3>{LOST}\n{LOST}\n")
    lines, next_sequence = xid_lines(str(log))
    assert [(line.sequence, line.monotonic_s, line.from_kernel) for line in lines] == [(1, None, True), (2, None, None)]
    assert next_sequence == 3


def test_the_driver_does_not_always_know_the_process(tmp_path: Path) -> None:
    line = one(tmp_path, "3,1,1,-;NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off")
    assert line is not None
    assert (line.pid, line.process, line.text) == (None, "unknown", "GPU has fallen off")


def test_bytes_that_are_no_text_do_not_hide_the_next_line(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_bytes(b"3,1,1,-;\xff\xfe\n" + f"3,2,1,-;{LOST}\n".encode())
    assert [line.sequence for line in xid_lines(str(log))[0]] == [2]


def test_the_kernels_own_log_is_read_without_waiting() -> None:
    path = Path("/dev/kmsg")
    try:
        path.open("rb").close()
    except OSError:
        with pytest.raises(OSError, match="kmsg"):
            xid_lines(str(path))
        return
    _, next_sequence = xid_lines(str(path))
    assert next_sequence >= 0


def test_a_log_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        xid_lines(str(tmp_path / "none"))
