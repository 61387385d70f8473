# SPDX-License-Identifier: Apache-2.0
"""What `apply` is asked for, checked by value alone."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Optional

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["Order", "parse_order"]

_SHORTEST_S = 0.1
_LONGEST_S = 7 * 86400.0
_FAR_FUTURE_S = 1e11


@dataclass(frozen=True)
class Order:
    """One fault asked for; `sha256` tells a repetition from another order with the same lease id."""

    lease: str
    fault: str
    params: JsonObject
    ttl_s: float
    max_duration_s: float
    run: str
    inject_at_s: Optional[float]  # seconds since 1970
    sha256: str
    stop_when: JsonObject
    change_id: Optional[str] = None
    approval: JsonObject = field(default_factory=dict)  # as it came
    granted: JsonObject = field(default_factory=dict)  # by what it goes, once that was judged


def parse_order(request: JsonMapping) -> Order:
    """Read an apply request; the agent makes a lease id where the caller gave none."""
    asked = {
        key: request.get(key) for key in ("fault", "params", "ttl_s", "max_duration_s", "run", "inject_at", "stop_when")
    }
    order = Order(
        lease=values.optional_text(request, "lease") or os.urandom(8).hex(),
        fault=values.text(request, "fault"),
        params=values.mapping(request, "params"),
        ttl_s=values.number(request, "ttl_s", _SHORTEST_S, _LONGEST_S),
        max_duration_s=values.number(request, "max_duration_s", _SHORTEST_S, _LONGEST_S),
        run=values.text(request, "run"),
        inject_at_s=None
        if request.get("inject_at") is None
        else values.number(request, "inject_at", 0.0, _FAR_FUTURE_S),
        sha256=hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest(),
        stop_when=values.mapping(request, "stop_when") if request.get("stop_when") is not None else {},
        change_id=values.optional_text(request, "change_id"),
        approval=values.mapping(request, "approval"),
    )
    if order.ttl_s > order.max_duration_s:
        raise BadRequest(f"ttl_s {order.ttl_s:g} is longer than max_duration_s {order.max_duration_s:g}.")
    return order
