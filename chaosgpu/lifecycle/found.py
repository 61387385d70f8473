# SPDX-License-Identifier: Apache-2.0
"""What hosts themselves hold of a lifecycle, for whoever has no record of it: a drain, a pin."""

from collections.abc import Iterable, Mapping

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.values import JsonObject, JsonValue, objects
from chaosgpu.lifecycle.course import pin_lease, pin_run

__all__ = ["drained_for", "lines_of_hosts"]

_ASK_S = 60.0
_STATUS = "service status"
_IN_SERVICE = "in service"


def drained_for(hosts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return for which drills hosts are out of service; a host that cannot say is in none, and told by others."""
    found: dict[str, tuple[str, ...]] = {}
    for host, answer in ask_everywhere(hosts, _STATUS, {}, _ASK_S).items():
        drill = None if isinstance(answer, ChaosGpuError) else _drill(answer)
        if drill is not None:
            found[drill] = (*found.get(drill, ()), host)
    return found


def lines_of_hosts(run: str, hosts: Iterable[str]) -> list[JsonObject]:
    """Return lines as the record of a run would have them, from what its hosts hold of it now."""
    named = [*hosts]
    lines: list[JsonObject] = []
    for host in drained_for(named).get(run, ()):
        lines += _step(run, host, "drain")
    for host, answer in ask_everywhere(named, "list", {"run": pin_run(run)}, _ASK_S).items():
        if isinstance(answer, ChaosGpuError):
            continue
        if any(lease.get("lease") == pin_lease(run) for lease in objects(answer, "leases")):
            lines += [*_step(run, host, "snapshot"), *_step(run, host, "pin")]
    return lines


def _drill(answer: Mapping[str, JsonValue]) -> str | None:
    """Return the drill that has taken a host out of service; one in quarantine waits for a person."""
    drill = answer.get("drill")
    waits = answer.get("state") == _IN_SERVICE or answer.get("quarantine") is not None
    return drill if isinstance(drill, str) and drill and not waits else None


def _step(drill: str, host: str, step: str) -> list[JsonObject]:
    well: JsonObject = {host: {"how": "ok"}}
    return [
        {"type": "lifecycle.step", "drill": drill, "step": step, "way": "there", "hosts": [host]},
        {"type": "lifecycle.done", "drill": drill, "step": step, "way": "there", "hosts": well},
    ]
