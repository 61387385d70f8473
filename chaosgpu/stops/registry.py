# SPDX-License-Identifier: Apache-2.0
"""Every stop condition that is watched here, with its parameters; those of a host are the agent's own."""

from collections.abc import Callable
from dataclasses import dataclass

from chaosgpu.agent.stops.contract import Parameter
from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Leaf
from chaosgpu.stops.elapsed import Elapsed
from chaosgpu.stops.error_rate import ErrorRate
from chaosgpu.stops.file_here import FileHere
from chaosgpu.stops.lease_gone import LeaseGone
from chaosgpu.stops.scene import Scene
from chaosgpu.stops.slow import CanarySlow
from chaosgpu.stops.wrong import CanaryWrong, ProbeFails

__all__ = ["HERE", "Kind"]

_DAY_S = 86400.0


@dataclass(frozen=True)
class Kind:
    """One condition by name: what it is, what it takes, and what makes it."""

    name: str
    about: str
    parameters: tuple[Parameter, ...]
    make: Callable[[JsonObject, Scene], Leaf]


_SECONDS = Parameter("seconds", "number", "s without a break", 0, _DAY_S)
_PROBE = Parameter("probe", "text", "name of a probe of the hypothesis or the method")
_CANARY = Parameter("probe", "text", "name of a probe; the experiment's one canary without it", required=False)

HERE: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("elapsed", "the run has taken this long", (Parameter("seconds", "number", "s", 0, 7 * _DAY_S),), Elapsed),
        Kind(
            "controller_file_exists",
            "a file exists on the controller",
            (Parameter("path", "text", "the file"),),
            FileHere,
        ),
        Kind("lease_gone", "a fault that should be in force is not", (), LeaseGone),
        Kind(
            "probe_fails",
            "a probe fails by its own tolerance",
            (
                _PROBE,
                Parameter("seconds", "number", "s without a break", 0, _DAY_S, required=False, default=0),
            ),
            ProbeFails,
        ),
        Kind(
            "error_rate_above",
            "more than this share of the last looks at a probe failed",
            (
                _PROBE,
                Parameter("percent", "number", "%", 0, 100),
                Parameter("looks", "whole", "how many looks are judged together", 2, 1000, required=False, default=20),
            ),
            ErrorRate,
        ),
        Kind("canary_wrong_for", "the canary's answer is wrong, late or missing", (_SECONDS, _CANARY), CanaryWrong),
        Kind(
            "canary_slow_for",
            "the canary's answer takes too long",
            (_SECONDS, Parameter("above_s", "number", "s that are too long", 0, _DAY_S), _CANARY),
            CanarySlow,
        ),
    )
}
