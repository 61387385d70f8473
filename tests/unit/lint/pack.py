# SPDX-License-Identifier: Apache-2.0
"""A small extension, as a user would write one: its functions are named by the experiments of these tests."""

from typing import Literal

__all__ = ["above", "answer", "broken", "everything", "facts", "ratio", "ready", "words"]


def ready(url: str = "http://127.0.0.1", within_s: float = 1.0) -> bool:
    return bool(url) and within_s > 0


def ratio(gpu: str, window_s: float = 1.0) -> float:
    return len(gpu) * window_s


def words(count: int = 1) -> str:
    return "word " * count


def facts(keys: list[str] | None = None) -> dict[str, int]:
    return dict.fromkeys(keys or [], 1)


def answer(number: int) -> int:
    return number


def everything(
    flag: bool = False,
    limits: dict[str, float] | None = None,
    mode: Literal["soft", "hard"] = "soft",
    names: tuple[str, ...] = (),
    anything: object = None,
) -> None:
    del flag, limits, mode, names, anything


def broken() -> None:
    return None


def above(threshold: float, value: float | None = None) -> bool:
    return value is not None and value > threshold
