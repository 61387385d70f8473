# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's own program says of the card: another reader than ours, field by field."""

import subprocess

__all__ = ["FIELDS", "ask", "ask_all"]

FIELDS = (
    "uuid", "name", "serial", "pci.bus_id", "vbios_version", "driver_version", "compute_cap", "memory.total",
    "memory.reserved", "memory.used", "memory.free", "power.limit", "power.default_limit", "power.min_limit",
    "power.max_limit", "power.draw", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "temperature.gpu",
    "temperature.memory", "ecc.mode.current", "ecc.mode.pending", "ecc.errors.corrected.volatile.total",
    "ecc.errors.uncorrected.volatile.total", "ecc.errors.corrected.aggregate.total",
    "ecc.errors.uncorrected.aggregate.total", "remapped_rows.correctable", "remapped_rows.uncorrectable",
    "remapped_rows.pending", "remapped_rows.failure", "persistence_mode", "compute_mode", "mig.mode.current",
    "pcie.link.gen.max", "pcie.link.width.max", "pcie.link.gen.current", "pcie.link.width.current", "utilization.gpu",
    "clocks_event_reasons.active", "pstate", "fan.speed", "inforom.img", "gsp.mode.current", "display_active",
)  # fmt: skip


def ask(uuid: str, field: str) -> str | None:
    """Ask one field; None where the program has no such field."""
    words = ["nvidia-smi", "-i", uuid, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def ask_all(uuid: str) -> dict[str, str | None]:
    """Ask all of them: in one call, or one by one where one of them is not known."""
    words = ["nvidia-smi", "-i", uuid, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    values = [value.strip() for value in done.stdout.strip().split(",")]
    if done.returncode == 0 and len(values) == len(FIELDS):
        return dict(zip(FIELDS, values, strict=True))
    return {field: ask(uuid, field) for field in FIELDS}
