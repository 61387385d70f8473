# SPDX-License-Identifier: Apache-2.0
"""The agent's end of the toggle: which calls fail with what, until when; and how many have."""

import os
from dataclasses import dataclass
from typing import Dict, Tuple

__all__ = ["CODES", "FOLDER_VARIABLE", "GROUPS", "Errors", "Toggle"]

FOLDER_VARIABLE = "CHAOSGPU_CUDA_ERRORS"
# In the order of the shim's own numbers; the letter is what it counts one with.
GROUPS: Dict[str, str] = {"alloc": "a", "launch": "l", "copy": "c", "sync": "s"}
CODES: Dict[int, str] = {
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    214: "CUDA_ERROR_ECC_UNCORRECTABLE",
    700: "CUDA_ERROR_ILLEGAL_ADDRESS",
    702: "CUDA_ERROR_LAUNCH_TIMEOUT",
    719: "CUDA_ERROR_LAUNCH_FAILED",
    999: "CUDA_ERROR_UNKNOWN",
}


@dataclass(frozen=True)
class Errors:
    """What fails: each n-th call of these groups with this CUresult."""

    code: int
    groups: Tuple[str, ...]
    every: int


class Toggle:
    """The folder that one unit's shim looks into: `toggle` is there while calls fail, `failed` has a byte for each."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._toggle, self._failed = f"{folder}/toggle", f"{folder}/failed"

    def make(self, user: int) -> None:
        """Make it, off; only the unit's own user may count."""
        os.makedirs(self.folder, mode=0o755, exist_ok=True)  # noqa: PTH103 (pathlib costs 9 ms at start)
        file = os.open(self._failed, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchown(file, user, -1)
        finally:
            os.close(file)

    def turn_on(self, errors: Errors, until_s: float) -> None:
        """Make calls fail, until that time on CLOCK_BOOTTIME; the file appears as a whole."""
        numbers = {name: number for number, name in enumerate(GROUPS)}
        mask = sum(1 << numbers[name] for name in errors.groups)
        line = (
            f"chaosgpu-cuda-errors 1 code {errors.code} groups {mask} every {errors.every} "
            f"until_ns {int(until_s * 1e9)} end\n"
        )
        unfinished = f"{self._toggle}.new"
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, line.encode())
            os.fchmod(file, 0o644)
        finally:
            os.close(file)
        os.replace(unfinished, self._toggle)  # noqa: PTH105 (pathlib costs 9 ms at start)

    def turn_off(self) -> None:
        """Let calls through within a millisecond; again is harmless."""
        _remove(self._toggle)

    def is_on(self) -> bool:
        """Tell whether the toggle is there."""
        return os.path.exists(self._toggle)  # noqa: PTH110 (pathlib costs 9 ms at start)

    def failed(self) -> Dict[str, int]:
        """Return how many calls of each group were made to fail; after a million the shim stops counting."""
        try:
            with open(self._failed, "rb") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
                counted = file.read()
        except FileNotFoundError:
            counted = b""
        return {name: counted.count(letter.encode()) for name, letter in GROUPS.items()}

    def is_there(self) -> bool:
        """Tell whether anything of it is left."""
        return os.path.lexists(self.folder)

    def remove(self) -> None:
        """Turn it off and take everything away; again is harmless."""
        self.turn_off()
        for path in (f"{self._toggle}.new", self._failed):
            _remove(path)
        try:
            os.rmdir(self.folder)  # noqa: PTH106 (pathlib costs 9 ms at start)
        except FileNotFoundError:
            return


def _remove(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms at start)
    except FileNotFoundError:
        return
