# SPDX-License-Identifier: Apache-2.0
"""Null runs of the residue detector: hosts on which nothing was left, in every state a sound host is in.

`python benchmarks/residue.py --minutes 20` goes on where the last one stopped, until there are 500; the lines are kept
in `figures/safety/null_runs.jsonl`, and count for the same detector only. `--plant` plants every kind that a test host
can carry, and notes which were found. The figures go into `make figures-safety`.
"""

import argparse
import hashlib
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import Figure, at_least, at_most, exactly, not_measured

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench.files import AGENT  # noqa: E402 (beside this file, wherever the tree lies)
from bench.hosts import BENCHES, Bench, Host  # noqa: E402
from bench.plan import me  # noqa: E402
from bench.residue_plants import FIRST, PREPARE  # noqa: E402

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["SCENES", "figures", "read"]

_RUNS = 500
_HOSTS = 3
_FOLDER = Path("figures") / "safety"
_NULL, _PLANTED = _FOLDER / "null_runs.jsonl", _FOLDER / "planted.jsonl"
_BOUND_S = 25.0  # what the detector gives itself, on however busy a host
_FAULTS: dict[str, dict[str, object]] = {
    "gpu.power.cap": {"watts": 300},
    "gpu.memory.fill": {"used_percent": 60},
    "gpu.memory.leak": {"rate_mib_s": 100},
    "gpu.clock.lock": {"mhz": 900},
    "gpu.compute_mode.set": {"mode": "exclusive_process"},
    "gpu.persistence.off": {},
    "gpu.burn": {"duty_percent": 50},
}


def read(host: Host, owner: str | None = None) -> dict[str, Any]:
    """Take the reading of residue on a host."""
    params = {} if owner is None else {"owner": owner}
    answer = host.agent("read", {"reading": "residue", "params": params}, timeout_s=90)
    if "values" not in answer:
        raise RuntimeError(f"{host.name} gave no reading: {answer}")
    return answer


# Several readings by one agent process: most of one call's time is Python's start.
_SERIES = """
import io, sys
sys.path.insert(0, sys.argv[1])
from chaosgpu.agent.main import main
for _ in range(int(sys.argv[2])):
    out = io.BytesIO()
    main(["read"], io.BytesIO(b'{"protocol": 1, "reading": "residue", "params": {}}'), out)
    print(out.getvalue().decode().strip(), flush=True)
"""
_IN_SERIES = 4


def series(host: Host, count: int) -> list[dict[str, Any]]:
    """Take so many readings in a row."""
    said = host.run(["python3", "-c", _SERIES, AGENT, str(count)], timeout_s=60.0 * count, check=True)
    answers = [json.loads(line) for line in said.stdout.splitlines()]
    if len(answers) != count or not all("values" in answer for answer in answers):
        raise RuntimeError(f"{host.name} gave no readings: {said.stdout[-300:]} {said.stderr[-300:]}")
    return answers


@contextmanager
def _idle(host: Host, draw: random.Random) -> Iterator[None]:  # noqa: ARG001 (the form of a scene)
    yield


@contextmanager
def _started(connections: "list[Popen[bytes]]") -> Iterator[None]:
    """Keep these connections open, and cut them at the end, whatever happens."""
    try:
        yield
    finally:
        for connection in connections:
            with connection:  # it closes its pipes and is waited for
                connection.kill()


@contextmanager
def _logins(host: Host, draw: random.Random) -> Iterator[None]:
    """Two operators are logged in, one of them with a job in the background."""
    with _started([host.start(["sleep", "60"], user=user) for user in ("ops", "root")]):
        host.run(["sh", "-c", f"nohup sleep {draw.randint(3, 9)} >/dev/null 2>&1 &"])
        yield


@contextmanager
def _load(host: Host, draw: random.Random) -> Iterator[None]:
    """Both processors are busy, and files are written and removed."""
    with _started([host.start(["timeout", "20", "sha256sum", "/dev/zero"]) for _ in range(draw.randint(1, 2))]):
        host.run(["sh", "-c", "head -c 20000000 /dev/urandom > /var/data && gzip -c /var/data > /dev/null"])
        yield
        host.run(["rm", "-f", "/var/data"])


@contextmanager
def _serving(host: Host, draw: random.Random) -> Iterator[None]:  # noqa: ARG001 (the form of a scene)
    """Triton runs, and stays for the scenes that follow."""
    host.run(["systemctl", "start", "triton.service"], timeout_s=60)
    yield


@contextmanager
def _rebooted(host: Host, draw: random.Random) -> Iterator[None]:  # noqa: ARG001 (the form of a scene)
    host.reboot()
    yield


@contextmanager
def _undone(host: Host, draw: random.Random) -> Iterator[None]:
    """Apply a lease and undo it, a moment before the reading."""
    with _lease(host, draw, draw.choice(sorted(_FAULTS))):
        pass
    yield


@contextmanager
def _in_force(host: Host, draw: random.Random) -> Iterator[None]:
    """Keep a lease in force during the reading."""
    with _lease(host, draw, draw.choice(sorted(_FAULTS))):
        yield


@contextmanager
def _lease(host: Host, draw: random.Random, fault: str) -> Iterator[None]:
    uuid = host.gpus().show()[draw.randint(0, 1)]["identity"]["uuid"]
    lease = f"null-{draw.getrandbits(40):x}"
    params = {"gpu": uuid, **_FAULTS[fault]}
    order = {"lease": lease, "fault": fault, "params": params, "ttl_s": 120, "max_duration_s": 120, "run": "null"}
    answer = host.agent("apply", order, timeout_s=90)
    try:
        # A fault may be refused in a scene (persistence off under Triton): then nothing was touched, as it should.
        if "error" in answer and answer["error"]["kind"] not in ("refused", "no_effect"):
            raise RuntimeError(f"{fault} on {host.name}: {answer['error']}")
        yield
    finally:
        host.agent("undo", {"lease": lease}, timeout_s=90)


type Scene = Callable[[Host, random.Random], Any]
SCENES: dict[str, Scene] = {
    "idle": _idle,
    "logins": _logins,
    "load": _load,
    "serving": _serving,
    "rebooted": _rebooted,
    "undone": _undone,
    "in force": _in_force,
}
_WEIGHTS = {"idle": 5, "logins": 2, "load": 2, "serving": 2, "rebooted": 1, "undone": 3, "in force": 3}


def detector_digest() -> str:
    """Return a digest of the detector: another one's null runs say nothing about this one."""
    total = hashlib.sha256()
    agent = ROOT / "chaosgpu" / "agent"
    for path in sorted([*(agent / "residue").glob("*.py"), agent / "nvml" / "residue.py"]):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]


def figures() -> list[Figure]:
    """Return the figures of the lines that are there."""
    runs = [line for line in _lines(_NULL) if line["detector"] == detector_digest()]
    planted = [line for line in _lines(_PLANTED) if line["detector"] == detector_digest()]
    if not runs:
        return [not_measured("null runs", "runs", f">= {_RUNS}", "benchmarks/residue.py was not run")]
    alarms = [line for line in runs if any(one["owner"] != "unknown" for one in line["findings"])]
    shown = [line for line in runs if line["findings"]]
    took = sorted(line["took_s"] for line in runs)
    found = [
        at_least("null runs", len(runs), "runs", _RUNS),
        exactly("null runs with a false alarm", len(alarms), "runs", 0),
        exactly("null runs with any finding, of whatever owner", len(shown), "runs", 0),
        at_most("one reading of residue, longest", took[-1], "s", _BOUND_S),
        Figure("one reading of residue, median", took[len(took) // 2], "s", "", None),
    ]
    if not planted:
        return [*found, not_measured("kinds planted on test hosts", "kinds", ">= 60", "nothing was planted")]
    last = planted[-1]
    return [
        *found,
        at_least("kinds planted on test hosts", len(last["planted"]), "kinds", 60),
        exactly("planted kinds that were not found", len(set(last["planted"]) - set(last["found"])), "kinds", 0),
    ]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _plant(bench: Bench) -> None:
    host = bench.hosts[0]
    with _lease_named_ended(host):
        pass
    host.run([AGENT, "install-units"], check=True)
    host.run(["bash"], PREPARE, check=True)
    for script in FIRST.values():
        host.run(["timeout", "10", "bash"], script + "\n")
    found = sorted({finding["kind"] for finding in read(host)["values"]["findings"]})
    _note(_PLANTED, {"detector": detector_digest(), "planted": sorted(FIRST), "found": found})


@contextmanager
def _lease_named_ended(host: Host) -> Iterator[None]:
    uuid = host.gpus().show()[0]["identity"]["uuid"]
    order = {"lease": "ended", "fault": "gpu.power.cap", "params": {"gpu": uuid, "watts": 300}, "ttl_s": 60}
    host.agent("apply", {**order, "max_duration_s": 60, "run": "null"})
    yield
    host.agent("undo", {"lease": "ended"})


_writing = threading.Lock()


def _note(path: Path, line: dict[str, Any]) -> None:
    with _writing:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _run(host: Host, detector: str, until_s: float, left: Callable[[], bool]) -> None:
    draw = random.Random(f"null {host.name} {time.time_ns()}")  # noqa: S311 (a choice of scenes, no secret)
    while left() and time.time() < until_s:
        name = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        with SCENES[name](host, draw):
            answers = series(host, _IN_SERIES)
        for answer in answers:
            values, unknown = answer["values"], sorted(answer["unknown"])
            line = {"scene": name, "host": host.name, "findings": values["findings"], "unknown": unknown}
            _note(_NULL, {"detector": detector, "took_s": values["took_s"], **line})
            if values["findings"]:
                sys.stderr.write(f"{host.name}, {name}: {json.dumps(values['findings'])}\n")


def main() -> int:
    """Take null runs until there are enough or the time is over; with --plant, plant and look first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="stop after this long")
    parser.add_argument("--plant", action="store_true", help="plant every kind once, and note which were found")
    arguments = parser.parse_args()
    until_s = time.time() + 60 * arguments.minutes
    digest = detector_digest()

    def left() -> bool:
        return len([line for line in _lines(_NULL) if line["detector"] == digest]) < _RUNS

    bench = Bench(BENCHES / f"null-{me().pid}")
    bench.up(1 if arguments.plant else _HOSTS)
    try:
        if arguments.plant:
            _plant(bench)
        else:
            threads = [threading.Thread(target=_run, args=(host, digest, until_s, left)) for host in bench.hosts]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        bench.down()
    for figure in figures():
        sys.stdout.write(f"{figure.name}: {figure.value} {figure.unit} ({figure.target})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
