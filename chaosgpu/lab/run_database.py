# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu lab database NAME -- COMMAND`: a real vector database with a canary for as long as a command runs."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from chaosgpu.errors import LabFailed
from chaosgpu.lab.databases import Database, prepared
from chaosgpu.lab.packages import packages
from chaosgpu.lab.run import run_command
from chaosgpu.vectordb import probes

__all__ = ["Restarter", "run_with_database"]

# As systemd's RestartSec= in a unit with Restart=always.
_RESTART_S = 1.0
_OURS = "chaosgpu-lab-database"


def run_with_database(name: str, folder: Path, command: list[str], say: Callable[[str], None]) -> int:
    """Start a database, learn its canary, run a command in its environment, end the database; the command's exit code.

    A database that ends meanwhile is started again after a second, as a service manager would.
    """
    folder = folder.resolve()
    _clear(folder)
    database = prepared(name, folder, say)
    try:
        say(f"{name} answers at {database.url} after {database.start():.1f} s; its log is {folder / 'server.log'}")
        environment = _environment(database, folder, say)
        return run_command(command, {**os.environ, **environment}, Restarter(database, say).look)
    finally:
        database.stop()
        say(f"{name} is down")


def _clear(folder: Path) -> None:
    """Remove what an earlier one left; a folder that is not of this lab is refused."""
    mark = folder / _OURS
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise LabFailed(f"{folder} is not empty and no folder of a lab's database; name another --directory.")
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch()


def _environment(database: Database, folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    path = folder / "vectors.json"
    secrets = {} if database.key is None else {"key": database.key}
    found = {
        "CHAOSGPU_LAB_DATABASE": database.engine.name,
        "CHAOSGPU_LAB_DATABASE_URL": database.url,
        "CHAOSGPU_LAB_DATABASE_KEY": database.key or "",
        "CHAOSGPU_LAB_DATABASE_DATA": str(database.place.data),
        "CHAOSGPU_VECTORS": str(path),
    }
    if database.engine.name == "milvus":
        # Its client is in the packages of the lab; an installation with the extra `milvus` has it anyway.
        found["PYTHONPATH"] = os.pathsep.join(
            word for word in (os.environ.get("PYTHONPATH"), str(packages("milvus", say))) if word
        )
        say("learn its canary with the probe learn_canary: this process has no client for it")
        return found
    said = probes.learn_canary(database.url, database.engine.name, str(path), secrets=secrets)
    say(f"canary learned: {said['rows']} vectors, recall {said['recall']:.3f}, alarm below {said['alarm_below']:.3f}")
    return found


class Restarter:
    """Starts a database again some time after it ended."""

    def __init__(self, database: Database, say: Callable[[str], None]) -> None:
        """Remember which; nothing happens but in `look`."""
        self._database, self._say, self._now = database, say, time.monotonic
        self._ended_s: float | None = None

    def look(self) -> None:
        """Look after it once."""
        process = self._database.process
        if process is not None and process.poll() is None:
            self._ended_s = None
        elif self._ended_s is None:
            self._ended_s = self._now()
            self._say(f"{self._database.engine.name} has ended and is started again in {_RESTART_S:g} s")
        elif self._now() - self._ended_s >= _RESTART_S:
            self._database.launch()
            self._ended_s = None
