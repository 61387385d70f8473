# SPDX-License-Identifier: Apache-2.0
"""Play an experiment with the real `chaos run` in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
GUARD = {"name": "guard", "provider": {"type": "python", "module": "chaosgpu.controls.guard"}}
TINY = {"name": "tiny", "provider": {"type": "python", "module": "support.tiny"}}


def python(
    name: str, func: str, *, kind: str = "action", module: str = "support.tiny", **arguments: object
) -> dict[str, Any]:
    """Write one Python activity."""
    provider: dict[str, Any] = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"name": name, "type": kind, "provider": provider}


UNDO_ALL = python("undo everything of this run", "undo_all", module="chaosgpu.lease.actions")


def experiment(method: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Write an experiment whose steady state holds; a change of None takes a part out."""
    whole: dict[str, Any] = {
        "title": "a test",
        "description": "a test",
        "controls": [TINY, GUARD],
        "steady-state-hypothesis": {
            "title": "it holds",
            "probes": [{**python("it holds", "holds", kind="probe"), "tolerance": True}],
        },
        "method": method,
        "rollbacks": [UNDO_ALL],
    }
    whole |= changes
    return {key: value for key, value in whole.items() if value is not None}


@dataclass
class Played:
    """What a `chaos run` left behind."""

    status: int
    said: str
    folder: Path

    @property
    def journal(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "journal.json").read_text())
        return found

    @property
    def run(self) -> Path:
        return (self.folder / ".chaosgpu/runs/latest").resolve()

    @property
    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.run / "ledger.jsonl").read_text().splitlines()]

    @property
    def types(self) -> list[str]:
        return [entry["type"] for entry in self.ledger]

    @property
    def verdict(self) -> tuple[str, str]:
        last = self.ledger[-1]
        return last["verdict"], last["reason"]

    @property
    def broken(self) -> bool:
        return (self.folder / "agent/broken").exists()


def _set_signals(ignored: Collection[signal.Signals]) -> None:
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN if one in ignored else signal.SIG_DFL)


class Chaos:
    """A `chaos run` that is under way."""

    def __init__(
        self,
        folder: Path,
        content: dict[str, Any],
        *options: str,
        ignore: Collection[signal.Signals] = (),
        **environment: str,
    ) -> None:
        self.folder = folder
        (folder / "agent").mkdir(exist_ok=True)
        (folder / "experiment.json").write_text(json.dumps(content))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", "none.yaml"),
                *("run", *options, "experiment.json"),
            ],
            cwd=folder,
            # pytest changes that one at each test, also while a thread of an earlier test starts this.
            env={key: os.environ[key] for key in list(os.environ) if key != "PYTEST_CURRENT_TEST"}
            | {"TINY_AGENT": str(folder / "agent"), "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1"}
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=partial(_set_signals, ignore),  # noqa: PLW1509 (one thread; pytest itself may run with signals ignored)
        )

    def wait_for(self, path: Path, within_s: float = 15) -> None:
        """Wait until a file is there."""
        end = time.monotonic() + within_s
        while not path.exists():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{path} did not come: {self.finish().said}")
            time.sleep(0.02)

    def send(self, one: signal.Signals) -> None:
        self.process.send_signal(one)

    def finish(self, timeout_s: float = 40) -> Played:
        """Wait for the end."""
        try:
            said, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            said = self.process.communicate()[0]
            raise AssertionError(f"chaos run did not end: {said}") from None
        return Played(self.process.returncode, said, self.folder)


def play(folder: Path, content: dict[str, Any], *options: str, **environment: str) -> Played:
    """Play an experiment to its end."""
    return Chaos(folder, content, *options, ignore=(), **environment).finish()
