# SPDX-License-Identifier: Apache-2.0
"""A control that interrupts where it is told to: in the rollbacks, before or after one of them."""

from collections.abc import Mapping

from chaoslib.exceptions import InterruptExecution

_ROLLBACKS = ("first of the rollbacks",)


def before_rollback_control(context: object, where: str) -> None:
    """Interrupt before the first rollback."""
    del context
    if where == "before rollback":
        raise InterruptExecution(where)


def before_activity_control(context: Mapping[str, object], where: str) -> None:
    """Interrupt before one rollback."""
    if where == "before activity" and context.get("name") in _ROLLBACKS:
        raise InterruptExecution(where)


def after_activity_control(context: Mapping[str, object], where: str) -> None:
    """Interrupt after one rollback."""
    if where == "after activity" and context.get("name") in _ROLLBACKS:
        raise InterruptExecution(where)
