# SPDX-License-Identifier: Apache-2.0
"""The gate between levels: a drill of level n needs a passed drill of level n-1 of the same scope on record."""

import datetime as dt
from collections.abc import Iterable

from chaosgpu.drill.plan import Plan
from chaosgpu.fleet.values import JsonMapping, JsonValue

__all__ = ["why_gate_refuses"]


def why_gate_refuses(plan: Plan, entries: Iterable[JsonMapping], now: dt.datetime, counts_days: int) -> str | None:
    """Return why a plan's level is not open yet, or None."""
    if plan.level == 1:
        return None
    below = plan.level - 1
    ended = [
        one
        for one in entries
        if one.get("type") == "finished" and one.get("scope") == plan.scope and one.get("level") == below
    ]
    passed = [one for one in ended if one.get("verdict") == "passed"]
    if any(_age(one.get("at"), now) <= dt.timedelta(days=counts_days) for one in passed):
        return None
    if passed:
        found = f"the last one that passed is older than {counts_days} days"
    elif ended:
        found = f"the last one ended as {ended[-1].get('verdict')}"
    else:
        found = "none is on record"
    return (
        f"{plan.drill} is of level {plan.level}, which needs a passed drill of level {below} of {plan.scope}, and "
        f"{found}: run that one first."
    )


def _age(at: JsonValue, now: dt.datetime) -> dt.timedelta:
    """Return how old an entry is; one without a time that can be read is too old for anything."""
    try:
        moment = dt.datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        moment = None
    return dt.timedelta.max if moment is None or moment.tzinfo is None else now - moment
