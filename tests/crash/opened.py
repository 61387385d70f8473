# SPDX-License-Identifier: Apache-2.0
"""Which files of the agent the verbs of a real lease open, seen by strace: theirs, and of all that they start."""

import json
import re
import subprocess
from pathlib import Path

from chaosgpu.agent.values import JsonObject
from chaosgpu.selfdrill import entry, oracle, strace
from chaosgpu.selfdrill.host import World
from chaosgpu.selfdrill.points import wait_until

_OPENED = re.compile(r'"[^"]*/chaosgpu/agent/([^"]+\.pyc?)", O_RDONLY[^=]*= \d')
_TTL_S, _ENDS_WITHIN_S = 40.0, 60.0


def of_run(host: World, folder: Path) -> dict[str, set[str]]:
    """Put the fault in, go through the verbs, and return what each has opened."""
    host.renew()
    applied = _traced(host, "apply", {**host.order(), "ttl_s": _TTL_S}, folder / "apply")
    wait_until(lambda: (oracle.record(host.lease_folder) or {}).get("state") == "active", _TTL_S)
    asked: list[tuple[str, JsonObject]] = [
        ("renew", {"leases": [host.lease], "ttl_s": _TTL_S}), ("list", {"verify": True}), ("sweep", {}),
        ("undo", {"lease": host.lease}), ("halt", {"by": "ann", "reason": "pager"}),
    ]  # fmt: skip
    ended = {verb: _traced(host, verb, request, folder / verb).wait(_ENDS_WITHIN_S) for verb, request in asked}
    ended["apply"] = applied.wait(_ENDS_WITHIN_S)  # the keeper has gone
    if any(ended.values()):
        raise RuntimeError(f"Of the verbs some failed: {ended}")
    return {verb: _files((folder / verb).read_text(encoding="utf-8", errors="replace")) for verb in ended}


def _traced(host: World, verb: str, request: JsonObject, out: Path) -> "subprocess.Popen[bytes]":
    watch = [strace.find_strace(), "-f", "-q", "-s", "300", "-o", str(out), "-e", "trace=openat", "--"]
    child = subprocess.Popen(
        [*watch, *entry.START, verb], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=host.environment
    )
    if child.stdin is not None:
        child.stdin.write(json.dumps({"protocol": 1, **request}).encode())
        child.stdin.close()
    return child


def _files(text: str) -> set[str]:
    """Return the files of the agent that were opened, compiled ones under the name of their source."""
    found = set()
    for name in _OPENED.findall(text):
        path = Path(name)
        found.add(str(path.parent.parent / f"{path.name.split('.')[0]}.py" if path.suffix == ".pyc" else path))
    return found
