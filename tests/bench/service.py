# SPDX-License-Identifier: Apache-2.0
"""Taking a test host out of service and back: asked as playbooks do, and struck at each step."""

import json
from typing import Any

from bench.files import AGENT
from bench.hosts import Host
from bench.units import ETC

__all__ = ["HOOK", "ask", "forget", "gates", "hook", "lines", "on_gpu", "refusal", "struck", "touch_then_write"]

HOOK = "/etc/chaosgpu/hooks/balancer"
_WITHIN_S = 60
# The real verbs, with a killer at the n-th step; the names of the steps on standard error.
_STRUCK = """
import os, signal, sys
from chaosgpu.agent.main import Parts
from chaosgpu.agent.service.verbs import main
seen = []
def step(name):
    seen.append(name)
    print(name, file=sys.stderr, flush=True)
    if len(seen) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main([sys.argv[1]], Parts(step=step)))
"""
# The order that most scripts have: stop it, then note that it was up.
_TOUCH_THEN_WRITE = """
import json, os, signal, sys
from chaosgpu.agent.main import Parts
from chaosgpu.agent.service.desk import open_desk
from chaosgpu.agent.service.order import parse_order
from chaosgpu.agent.service.record import DRAINED, Record, Taken
from chaosgpu.agent.service.thing import Budget
from chaosgpu.agent.service.things import things
seen = []
def step(name):
    seen.append(name)
    if len(seen) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
desk = open_desk({}, Parts(step=step), os.environ)
order = parse_order("drain", json.load(sys.stdin), "bob")
with desk.lock():
    taken = []
    for kind, thing in things(order.wanted, order.drill, order.reason, desk).items():
        taken.append(Taken(kind, thing.prior(), "taken"))
        thing.take(taken[-1], Budget(desk.clock, 30.0))
    desk.save(Record(order.drill, order.reason, order.by, desk.now(), DRAINED, order.wanted, tuple(taken)))
"""
_HOOK = """\
#!/bin/sh
# Notes what it is called with, and says no where a file says so.
cat >> /run/balancer.told
echo "$1" >> /run/balancer
[ ! -e "/run/balancer.no-$1" ] || { echo "the pool has no other host" >&2; exit 1; }
"""
_HOLDS = (
    "import ctypes, time; cuda = ctypes.CDLL('libcuda.so.1'); context, at = ctypes.c_void_p(), ctypes.c_uint64(); "
    "assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0); "
    "assert not cuda.cuCtxSetCurrent(context); assert not cuda.cuMemAlloc_v2(ctypes.byref(at), 67108864); "
    "time.sleep(1000)"
)


def ask(host: Host, verb: str, user: str = "root", **request: Any) -> dict[str, Any]:
    """Ask one verb of the room; an error answer is returned as it is."""
    if verb in ("drain", "quarantine"):
        request = {"drill": "d1", "reason": "autumn drill", **request}
    elif verb == "return":
        request = {"drill": "d1", **request}
    words = [*([] if user == "root" else ["sudo", "-n"]), AGENT, "service", verb]
    asked = {} if verb == "status" else {"within_s": _WITHIN_S}
    said = host.run(words, json.dumps({**asked, **request}), timeout_s=3 * _WITHIN_S, user=user)
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def refusal(answer: dict[str, Any]) -> str:
    """Return the sentence of an answer that must be an error."""
    assert "error" in answer, answer
    return str(answer["error"]["message"])


def lines(answer: dict[str, Any], key: str = "after") -> dict[str, str]:
    """Return what was seen before or after, by name."""
    assert "error" not in answer, answer
    return dict(line.split(": ", 1) for line in str(answer[key]).splitlines())


def struck(host: Host, verb: str, at: int, **request: Any) -> list[str] | None:
    """Kill the verb at its n-th step; return the steps there were, None where it came to its end first."""
    words = ["env", f"PYTHONPATH={AGENT}", "python3", "-c", _STRUCK, verb, str(at)]
    done = host.run(words, json.dumps({"drill": "d1", **request}), timeout_s=3 * _WITHIN_S)
    steps = done.stderr.splitlines()
    assert done.returncode == 0 or (done.stdout == "" and len(steps) == at), (done.returncode, done.stdout, steps)
    return None if done.returncode == 0 else steps  # ssh has no status of its own for a command that was killed


def touch_then_write(host: Host, at: int, **request: Any) -> None:
    """Drain in the wrong order, killed at its n-th step."""
    words = ["env", f"PYTHONPATH={AGENT}", "python3", "-c", _TOUCH_THEN_WRITE, str(at)]
    host.run(words, json.dumps({"drill": "d1", "reason": "autumn drill", **request}), timeout_s=3 * _WITHIN_S)


def hook(host: Host) -> list[str]:
    """Put the site's program where hooks may lie; return it as a drain names it."""
    host.run(["sh", "-c", f"mkdir -p $(dirname {HOOK}); cat > {HOOK}; chmod 755 {HOOK}; rm -f /run/balancer*"], _HOOK)
    return [HOOK]


def gates(host: Host) -> list[str]:
    """Return every drop-in that keeps a unit down."""
    return host.run(["find", "/etc/systemd", "-name", "*chaosgpu-drained*"]).stdout.split()


def on_gpu(host: Host, unit: str) -> None:
    """Start a process on a GPU, as a unit of its own that no drain has named."""
    host.run(["systemd-run", "--quiet", f"--unit={unit}", "python3", "-c", _HOLDS], check=True)


def forget(host: Host) -> None:
    """Take away whatever a test has left of this room."""
    host.agent("resume", {"by": "test", "reason": "over"})
    script = (
        "rm -rf /var/lib/chaosgpu/service /etc/motd.d/chaosgpu-quarantine /run/balancer* /etc/chaosgpu/hooks; "
        f"find {ETC} -name '*chaosgpu-drained*' -delete; systemctl daemon-reload"
    )
    host.run(["sh", "-c", script], check=True)
