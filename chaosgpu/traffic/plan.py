# SPDX-License-Identifier: Apache-2.0
"""What traffic is to be sent: checked where an experiment asks for it, then handed to a process of its own."""

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Literal, cast

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import seconds
from chaosgpu.triton.http import service_address

__all__ = ["ARRIVALS", "Arrival", "TrafficPlan", "address", "checked_plan"]

Arrival = Literal["steady", "poisson"]
ARRIVALS: tuple[Arrival, ...] = ("steady", "poisson")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
# More than one process in Python can send; a load beyond it is a flood, which is a fault and no measurement.
_RATE_MOST = 20_000.0
_LONGEST_S = 24 * 3600.0


@dataclass(frozen=True)
class TrafficPlan:
    """One stream of requests. `model` is asked over KServe v2, or `requests` names a file of plain HTTP requests."""

    name: str
    url: str
    rate_per_s: float
    duration_s: float
    timeout_s: float
    arrival: Arrival
    seed: int
    late_ms: float
    series: str
    model: str | None = None
    golden: str | None = None
    requests: str | None = None

    def to_json(self) -> str:
        """Write it on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "TrafficPlan":
        """Read what `to_json` wrote."""
        return cls(**json.loads(line))


def address(url: object) -> tuple[str, int]:
    """Split `http://HOST:PORT`; anything else is refused with a sentence."""
    return service_address(url, "the service", 80)


def checked_plan(
    *,
    name: object,
    url: object,
    rate_per_s: object,
    duration_s: object,
    timeout_s: object,
    arrival: object,
    seed: object,
    late_ms: object,
    series: str,
    model: str | None,
    golden: str | None,
    requests: str | None,
) -> TrafficPlan:
    """Build a plan from what an experiment says; experiments are not typed."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadArgument(f"name must be small letters, digits and dashes, such as 'traffic', not {name!r}.")
    address(url)
    if arrival not in ARRIVALS:
        raise BadArgument(f"arrival must be one of {', '.join(ARRIVALS)}, not {arrival!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise BadArgument(f"seed must be a whole number, not {seed!r}.")
    if (model is None) == (requests is None):
        raise BadArgument("Give either model (a Triton model's name) or requests (a file of HTTP requests).")
    if golden is not None and model is None:
        raise BadArgument("golden is the known answer of a model: give model too, or leave golden out.")
    rate = _positive("rate_per_s", rate_per_s)
    if rate > _RATE_MOST:
        raise BadArgument(f"rate_per_s must be at most {_RATE_MOST:g} for one process, not {rate:g}.")
    span = seconds("duration_s", duration_s)
    if span > _LONGEST_S:
        raise BadArgument(f"duration_s must be at most {_LONGEST_S:g}, not {span:g}.")
    return TrafficPlan(
        name=name,
        url=cast("str", url),
        rate_per_s=rate,
        duration_s=span,
        timeout_s=seconds("timeout_s", timeout_s),
        arrival=arrival,
        seed=seed,
        late_ms=_positive("late_ms", late_ms),
        series=series,
        model=model,
        golden=golden,
        requests=requests,
    )


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise BadArgument(f"{name} must be a number over 0, not {value!r}.")
    return float(value)
