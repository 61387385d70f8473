# SPDX-License-Identifier: Apache-2.0
"""A host without systemd in namespaces of its own: its own /etc, /var/lib, /var/tmp and /run, and its own processes.

The real agent works there with the host's real paths, as root, and nothing of it reaches this machine; when the command
has ended, so have all processes. Inside, this file is the first process: it makes the host, may play cron, runs the
command, strikes it with a signal once a text is broken, and says what is left.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Left", "on_private_host", "why_not"]

_UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
_WORDS = [*_UNSHARE, *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--"]
_FOLDER, _LEASES = Path("/var/lib/chaosgpu/selfdrill"), Path("/var/lib/chaosgpu/leases")


@dataclass(frozen=True)
class Left:
    """How the command ended, and what it left."""

    status: int
    out: str
    err: str
    files: list[str]
    leases: dict[str, str]  # each with its state
    processes: list[str]


@dataclass(frozen=True)
class _Order:
    command: list[str]
    agent: str
    policy: Any
    scratch: str
    cron_every_s: float | None = None
    strike: int | None = None
    files: dict[str, str] = field(default_factory=dict)


def why_not() -> str | None:
    """Return why this machine cannot have such a host."""
    if shutil.which("unshare") is None:
        return "unshare is not installed (apt-get install util-linux)."
    tried = subprocess.run([*_WORDS, "true"], capture_output=True, text=True, timeout=10, check=False)
    return None if tried.returncode == 0 else f"Namespaces cannot be had: {tried.stderr.strip()}."


def on_private_host(
    command: Sequence[str],
    agent: Path,
    scratch: Path,
    *,
    policy: object = None,
    cron_every_s: float | None = None,
    strike: int | None = None,
    files: Mapping[str, str] | None = None,
    within_s: float = 100.0,
) -> Left:
    """Run a command on a new host with this agent and policy; `strike` is the signal that it gets in the middle."""
    order = _Order(list(command), str(agent), policy, str(scratch), cron_every_s, strike, dict(files or {}))
    words = [*_WORDS, sys.executable, __file__, json.dumps(asdict(order))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=within_s, check=False)
    assert done.returncode == 0, done.stderr
    return Left(**json.loads(done.stdout))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, timeout=10)


def _make(order: _Order) -> None:
    _mount("-t", "tmpfs", "private", order.scratch)
    upper, work = (f"{order.scratch}/{name}" for name in ("upper", "work"))
    for folder in (upper, work):
        Path(folder).mkdir()
    _mount("-t", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "private", "/etc")
    for folder in ("/var/lib", "/var/tmp", "/run"):  # noqa: S108 (to have another one there)
        _mount("-t", "tmpfs", "private", folder)
    Path("/etc/cron.d").mkdir(exist_ok=True)
    if order.policy is not None:
        Path("/etc/chaosgpu").mkdir(exist_ok=True)
        Path("/etc/chaosgpu/policy.json").write_text(json.dumps(order.policy))
    for name, text in order.files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def _play_cron(agent: str, every_s: float) -> None:
    """Be cron with shorter minutes: run the line of each minute."""
    subprocess.run([agent, "install-units"], check=True, stdout=subprocess.DEVNULL, timeout=30)
    lines = Path("/etc/cron.d/chaosgpu").read_text().splitlines()
    command = next(line.split(maxsplit=6)[6] for line in lines if line.startswith("*"))
    Path("/proc/self/comm").write_text("cron")

    def run() -> None:
        while True:
            time.sleep(every_s)
            subprocess.run(["sh", "-c", command], check=False, stdout=subprocess.DEVNULL, timeout=60)

    threading.Thread(target=run, daemon=True).start()


def _broken() -> bool:
    return any(path.read_text() == "broken" for path in _files())


def _files() -> list[Path]:
    return sorted(_FOLDER.iterdir()) if _FOLDER.is_dir() else []


def _run(order: _Order) -> "tuple[int, str, str]":
    child = subprocess.Popen(
        order.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd="/"
    )
    if order.strike is not None:
        while not _broken() and child.poll() is None:
            time.sleep(0.02)
        os.killpg(child.pid, order.strike)
    out, err = child.communicate()
    return child.returncode, out, err


def _left(order: _Order) -> "dict[str, str]":
    found = {}
    for path in _LEASES.iterdir() if _LEASES.is_dir() else ():
        request = json.dumps({"protocol": 1, "lease": path.name})
        said = subprocess.run(
            [order.agent, "record"], input=request, capture_output=True, text=True, timeout=60, check=False
        )
        found[path.name] = str(json.loads(said.stdout)["state"]["state"])
    return found


def _processes(agent: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            found += [" ".join(words)] if agent in words else []  # one that has ended has no words
    return found


def _inside(order: _Order) -> None:
    _make(order)
    if order.cron_every_s is not None:
        _play_cron(order.agent, order.cron_every_s)
    status, out, err = _run(order)
    processes = _processes(order.agent)
    left = Left(status, out, err, [str(path) for path in _files()], _left(order), processes)
    sys.stdout.write(json.dumps(asdict(left)))


if __name__ == "__main__":
    _inside(_Order(**json.loads(sys.argv[1])))
