# SPDX-License-Identifier: Apache-2.0
"""What would undo a lease on this host if nobody asked: the keeper, the timer, the sweep, the boot unit."""

import os
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from chaosgpu.agent.install import CRON, UNITS
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.agent.units import CRON_FILE, RECOVER, SWEEP, cron_file, exec_line

__all__ = ["cron_runs", "triggers"]

Verdict = Tuple[Optional[bool], str]
_HOW = "As root: `agent install-units`."
_NO_CRON = "have something run `agent tend` each minute and at boot."


def triggers(
    command: Sequence[str],
    *,
    own: bool,
    look: Callable[[], Optional[Systemd]] = find_systemd,
    units: str = UNITS,
    cron: str = CRON,
    runs: Optional[Callable[[], bool]] = None,
) -> Verdict:
    """Say which are there. `own`: root with the host's own state root, who alone has more than the keeper."""
    if not own:
        return None, (
            "A keeper process ends each lease at its deadline. There is no timer beside it, no sweep and nothing at "
            "boot: these are root's, for the host's own leases. If the keeper is killed, `sweep` or `list` ends it."
        )
    systemd = look()
    if systemd is None:
        return _with_cron(command, cron, runs or cron_runs)
    shown = systemd.ask("show", "--property=Id,ActiveState,UnitFileState", SWEEP, RECOVER)
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.strip().split("\n\n")]
    state: Dict[str, Dict[str, str]] = {block.get("Id", ""): block for block in blocks}
    missing: List[str] = []
    if state.get(SWEEP, {}).get("ActiveState") != "active":
        missing.append(f"the sweep ({SWEEP} does not run)")
    if not state.get(RECOVER, {}).get("UnitFileState", "").startswith("enabled"):
        missing.append(f"the undo at boot ({RECOVER} is not enabled)")
    elif f"ExecStart={exec_line(command)}\n" not in _text(f"{units}/{RECOVER}"):
        missing.append(f"the undo at boot ({RECOVER} does not start this agent, {' '.join(command)})")
    both = "A keeper process and a timer of systemd's end each lease at its deadline"
    if not missing:
        return True, f"{both}; a sweep every 30 s and an undo at boot stand behind them."
    return (False if len(missing) > 1 else None), f"{both}, but these are missing: {'; '.join(missing)}. {_HOW}"


def _with_cron(command: Sequence[str], cron: str, runs: Callable[[], bool]) -> Verdict:
    keeper = "There is no systemd here: a keeper process ends each lease at its deadline"
    ours = _text(f"{cron}/{CRON_FILE}") == cron_file(command)
    if not runs():
        but = f"; {cron}/{CRON_FILE} stands behind it, but" if ours else ", and nothing stands behind it:"
        return False, f"{keeper}{but} no cron runs here either: {_NO_CRON}"
    if not ours:
        return False, f"{keeper}, and nothing stands behind it: {cron}/{CRON_FILE} is not there or another's. {_HOW}"
    return True, f"{keeper}; cron sweeps every minute and at boot."


def cron_runs() -> bool:
    """Tell whether a cron runs."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib costs 9 ms at start)
        if name.isdigit() and _text(f"/proc/{name}/comm").strip() in ("cron", "crond", "busybox crond", "fcron"):
            return True
    return False


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read()
    except OSError:
        return ""
