# SPDX-License-Identifier: Apache-2.0
"""Renew leases on all hosts of a run with one call: what the renewer starts for a fleet, as it starts an agent.

`python -m chaosgpu.fleet.renew INVENTORY renew`. The request says on which host each lease is, beside what an agent's
`renew` takes. The answer has the leases of the hosts that answered, and under "failed" why the others did not.
"""

import ctypes
import json
import signal
import sys

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.ask import ask_many, use_inventory
from chaosgpu.fleet.everywhere import told
from chaosgpu.fleet.inventory import recorded_inventory
from chaosgpu.fleet.values import JsonObject, JsonValue, number, objects, whole_object

__all__ = ["main", "renewed"]

_PR_SET_PDEATHSIG = 1
_SHORTEST_S = 5.0
# The renewer ends this program by a third of the TTL.
_PARTS = 3


def main(argv: list[str]) -> int:
    """Read the request from standard input and write the answer."""
    tie()
    use_inventory(recorded_inventory({"fleet": json.loads(argv[0])}))
    sys.stdout.write(json.dumps(renewed(json.load(sys.stdin))) + "\n")
    return 0


def tie() -> None:
    """End with the renewer; the minder of an Ansible that we have started then ends that."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def renewed(request: JsonObject) -> JsonObject:
    """Ask each host for its own leases, all at once."""
    where, ttl_s = whole_object(request, "hosts"), number(request, "ttl_s") or 0.0
    leases: dict[str, list[JsonValue]] = {}
    for lease, host in where.items():
        leases.setdefault(str(host), []).append(lease)
    common: JsonObject = {"operator": request.get("operator"), "ttl_s": ttl_s}
    requests: dict[str, JsonObject] = {host: {**common, "leases": those} for host, those in leases.items()}
    found = ask_many("renew", requests, max(_SHORTEST_S, ttl_s / _PARTS))
    said = [lease for one in found.values() if isinstance(one, dict) for lease in objects(one, "leases")]
    cut_off = any(isinstance(one, ChaosGpuError) for one in found.values())
    return {"leases": [*said], **({"failed": told(found)} if cut_off else {})}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
