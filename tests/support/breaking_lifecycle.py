# SPDX-License-Identifier: Apache-2.0
"""Break the lifecycle control from within: Chaos Toolkit swallows what is not an interruption."""

from typing import NoReturn

from chaosgpu.controls import lifecycle


def _break(*_: object) -> NoReturn:
    raise RuntimeError("a mistake of ours")


def configure_control() -> None:
    """Let the control's one function raise."""
    vars(lifecycle)["plan_around"] = _break
