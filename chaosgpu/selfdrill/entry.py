# SPDX-License-Identifier: Apache-2.0
"""The real agent as a script that lets itself be traced from a marker call on, in whichever process is asked for.

A file `strike-ROLE.json` beside CHAOSGPU_AGENT_HOME (or in CHAOSGPU_SELFDRILL_BESIDE, where the agent keeps the host's
own home) orders it; the first process that has this role takes the file,
starts strace on itself and waits until strace sees it. Every call is counted from there, so Python's own start, with
its thousand calls, has no part in it. Roles: `agent` (the verb), `agent.2` (its second fork), `agent.2.1` (the first
fork of that), `hold`, `keep`, `keep-revert` (the keeper when it puts back), `keep.1` (what it forks first), or `due` in
place of `keep` for the reverter that a timer of systemd starts.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

MARKER = "/chaosgpu-marker"
KEEPERS = ("keep", "due")
WORLD = "CHAOSGPU_SELFDRILL_WORLD"  # "files": the two faults of the drill; else the agent's own
BESIDE = "CHAOSGPU_SELFDRILL_BESIDE"
PATHS = "CHAOSGPU_SELFDRILL_PATHS"  # where pynvml lies: without `site` a start costs a third
START = (sys.executable, "-B", "-S", os.path.realpath(__file__))
_SEEN_WITHIN_S = 10.0
_PR_SET_PTRACER, _ANY = 0x59616D61, -1

if __name__ == "__main__":
    # Keepers and holders start in /, with nothing else; and the agent beside this file is the one that is meant.
    _ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120 (pathlib costs 15 ms a start)
    sys.path[:1] = [_ROOT, *filter(None, os.environ.get(PATHS, "").split(":"))]

from chaosgpu.agent import revert as reverting  # noqa: E402 (after the path)

if TYPE_CHECKING:
    from chaosgpu.agent.main import Parts


def parts(beside: str, world: str) -> "Parts":
    """Return the agent's parts, with everything machine-wide kept in one folder, which a home of its own lies in."""
    from chaosgpu.agent.main import Parts  # noqa: PLC0415 (after `_look_before_reverting`)

    made = Parts(command=START, claims_directory=beside, run_halt=f"{beside}/run/HALT", dev_log=f"{beside}/log")
    if world == "files":
        from chaosgpu.agent.faults.selfdrill import FAULTS, ROLES  # noqa: PLC0415 (the GPU's faults do without)

        made = replace(made, registry=lambda: FAULTS, roles=lambda: ROLES)
    return made


def look(role: str, beside: str) -> None:
    """Let strace in if it was ordered for this role."""
    path = f"{beside}/strike-{role}.json"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (as above)
            order: Any = json.load(file)
        os.unlink(path)  # noqa: PTH108 (as above)
    except FileNotFoundError:
        return
    _attach(order["strace"], order["out"])


def _attach(command: list[str], out: str) -> None:
    if os.path.exists("/proc/sys/kernel/yama/ptrace_scope"):  # noqa: PTH110 (as above)
        import ctypes  # noqa: PLC0415 (only needed there)

        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)  # else a child may not trace its parent there
    streams: list[Any] = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1)]
    streams.append((os.POSIX_SPAWN_OPEN, 2, f"{out}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    # An empty environment: strace carries nobody's tag, so nobody ends it and nobody takes it for a leftover.
    os.posix_spawn(command[0], [*command, "-p", str(os.getpid())], {}, file_actions=streams, setsid=True)
    end_s = time.monotonic() + _SEEN_WITHIN_S
    while True:
        os.access(MARKER, os.F_OK)
        if os.path.exists(out) and os.stat(out).st_size:  # noqa: PTH110, PTH116 (no more calls than needed)
            return
        if time.monotonic() > end_s:
            os._exit(97)
        time.sleep(0.0005)


class Forks:
    """Names each process that is forked after its place in the family."""

    def __init__(self, role: str, beside: str) -> None:
        self._role, self._beside, self._count = role, beside, 0
        os.register_at_fork(after_in_parent=self._parent, after_in_child=self._child)

    def _parent(self) -> None:
        self._count += 1

    def _child(self) -> None:
        self._role, self._count = f"{self._role}.{self._count + 1}", 0
        look(self._role, self._beside)


def _look_before_reverting(role: str, beside: str) -> None:
    """Make the moment before any revert a marker; to be called before anybody has imported `revert`."""
    revert = reverting.revert

    def traced(*arguments: Any, **options: Any) -> Any:
        look(f"{role}-revert", beside)
        return revert(*arguments, **options)

    reverting.revert = traced


def run(argv: list[str], environment: Mapping[str, str]) -> int:
    """Run one verb, a keeper or a holder."""
    beside = environment.get(BESIDE) or os.path.dirname(environment["CHAOSGPU_AGENT_HOME"])  # noqa: PTH120 (as above)
    role = argv[0] if argv[0] in ("hold", *KEEPERS) else "agent"
    if role in KEEPERS:
        _look_before_reverting(role, beside)
    from chaosgpu.agent.main import main  # noqa: PLC0415 (as above)

    made = parts(beside, environment.get(WORLD, "gpu"))
    Forks(role, beside)
    look(role, beside)
    return main(argv, sys.stdin.buffer, sys.stdout.buffer, made)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ))
