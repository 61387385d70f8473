# SPDX-License-Identifier: Apache-2.0
"""A whole systemd host to be struck, from inside it: the agent's usual home, a small unit to break, timers.

It runs on the host's own Python and needs nothing but the agent and the harness.
"""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaosgpu.selfdrill import entry
from chaosgpu.selfdrill.host import START_UP, World, kill
from crash import unit_look
from crash.unit_look import TRANSIENT
from crash.unit_victims import DATA, PROGRAM, TOLD, UNIT, Victim

HOME = Path("/var/lib/chaosgpu")
_UNIT_FILE = Path("/etc/systemd/system") / UNIT
_STARTS_WITHIN_S = 30.0


@dataclass
class UnitWorld(World):
    """A test host; `folder` is where orders, claims and traces lie."""

    @property
    def home(self) -> Path:
        """The agent's usual home: under one of its own no unit is touched."""
        return HOME

    @property
    def mark(self) -> str:
        """What every process of ours carries in its environment."""
        return f"{entry.BESIDE}={self.folder}"

    def left(self) -> list[str]:
        """Name our units, jobs and questions to systemd that are left."""
        return [*unit_look.left_of_ours()]

    def waits(self) -> bool:
        """Tell whether systemd has a timer of this lease."""
        return (TRANSIENT / f"chaosgpu-revert-{self.lease}.timer").exists()

    def leave_to(self, who: str) -> None:
        """Take away the timer, or the keeper."""
        if who == "keep":
            self._stop_timer()
        else:
            for pid in self.pids("keep"):
                kill(pid)

    def units_of_keepers(self) -> tuple[str, ...]:
        """Return how that which `left` names of keeper and reverter begins."""
        names = (f"chaosgpu-keep-{self.lease}-", f"chaosgpu-revert-{self.lease}.")
        return tuple(f"{what}{name}" for what in ("unit ", f"unit file {TRANSIENT}/") for name in names)

    def lose_keepers(self, *others: str) -> None:
        """Take away the timer, too."""
        self._stop_timer()
        super().lose_keepers(*others)

    def _stop_timer(self) -> None:
        if self.waits():
            unit_look.ask("stop", f"chaosgpu-revert-{self.lease}.timer")


def build(
    folder: Path,
    fault: str,
    victim: Victim,
    kind: type[UnitWorld] = UnitWorld,
    look_also: Callable[[], dict[str, Any]] = dict,
) -> UnitWorld:
    """Start the unit that is to be broken, and make a host of it."""
    folder.mkdir(parents=True, exist_ok=True)
    _keep_home(in_memory=not victim.on_disk)
    subprocess.run(["sh", "-c", victim.data], check=True, timeout=_STARTS_WITHIN_S)
    TOLD.write_text("")
    TOLD.chmod(0o666)
    if victim.program:
        PROGRAM.write_text(victim.program, encoding="utf-8")
        PROGRAM.chmod(0o755)
    _UNIT_FILE.write_text(victim.service(), encoding="utf-8")
    for words in (("daemon-reload",), ("restart", UNIT)):
        subprocess.run(["systemctl", *words], check=True, timeout=_STARTS_WITHIN_S)
    end_s = time.monotonic() + _STARTS_WITHIN_S
    while victim.program and not TOLD.read_text():
        if time.monotonic() > end_s:
            raise TimeoutError(
                f"{UNIT} did not say anything within {_STARTS_WITHIN_S:g} s; see `journalctl -u {UNIT}`."
            )
        time.sleep(0.05)

    def look() -> Any:
        seen = unit_look.look(UNIT, TOLD, exact=victim.exact, opens=victim.opens, gpu=bool(victim.user))
        return {**seen, **look_also(), **(unit_look.files_in(DATA) if victim.data else {})}

    unit_look.settle(look)
    environment = {**os.environ, entry.WORLD: "host", entry.BESIDE: str(folder), **START_UP}
    return kind(folder, fault, victim.params, environment, look, times=victim.times)


def _keep_home(*, in_memory: bool) -> None:
    """Keep the agent's state in memory: what is synced there is synced fast, and a kill -9 loses nothing of it."""
    HOME.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "mode=0711", "tmpfs"] if in_memory else ["umount", "--lazy"]
    if HOME.is_mount() != in_memory:
        subprocess.run([*words, str(HOME)], check=True)
