# SPDX-License-Identifier: Apache-2.0
"""`agent install-units`, `agent remove-units`: put the sweep timer and the boot unit on this host, or take them away.

    install-units [--before UNIT]...     on this host, as root: systemd's units, or without systemd cron's file
    install-units --check [--before UNIT]...    tell which of them would be written, and touch nothing
    install-units --into FOLDER          only write all of these files, for whoever installs them another way
    remove-units                         the reverse of the first; refused while a lease is open

The answer is one JSON object: {"backend", "written", "removed"}; nothing is touched where nothing differs.
"""

import json
import os
import sys
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from chaosgpu.agent.errors import AgentError, BadRequest, Refused, StoreFailed
from chaosgpu.agent.home import Home
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.agent.units import CRON_FILE, RECOVER, SWEEP, cron_file, systemd_units
from chaosgpu.agent.values import JsonObject

__all__ = ["CRON", "UNITS", "Places", "install_units"]

UNITS, CRON = "/etc/systemd/system", "/etc/cron.d"


@dataclass(frozen=True)
class Places:
    """Where the files go and how systemd is found; tests give their own."""

    units: str = UNITS
    cron: str = CRON
    look: Callable[[], Optional[Systemd]] = find_systemd
    user_id: Callable[[], int] = os.geteuid


def install_units(argv: Sequence[str], command: Sequence[str], home: Home, places: Optional[Places] = None) -> int:
    """Carry out one of the two verbs; the exit status is 0 if standard output holds the answer."""
    places = Places() if places is None else places
    try:
        into, before, check = _options(argv)
        if into is not None:
            files = {**systemd_units(command, home.leases, before), f"{CRON_FILE}.cron": cron_file(command)}
            answer: JsonObject = {"backend": None, "written": [*_write(into, files)], "removed": []}
        else:
            if home.limited or places.user_id() != 0:
                raise Refused("Only root installs what starts the agent by itself, and not under CHAOSGPU_AGENT_HOME.")
            change = _install if argv[0] == "install-units" else _remove
            answer = (_look if check else change)(places, command, home, before)
    except AgentError as error:
        answer = {"error": {"kind": error.kind, "message": str(error)}}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


def _options(argv: Sequence[str]) -> Tuple[Optional[str], Tuple[str, ...], bool]:
    words = list(argv[1:])
    into: Optional[str] = None
    before: List[str] = []
    check = False
    while words:
        name = words.pop(0)
        if name == "--check" and argv[0] == "install-units":
            check = True
            continue
        if not words or argv[0] != "install-units" or name not in ("--into", "--before"):
            raise BadRequest(
                f"`{' '.join(argv)}` is not understood: it is `install-units [--into FOLDER | --check] "
                "[--before UNIT]...` or `remove-units`."
            )
        if name == "--into":
            into = words.pop(0)
        else:
            before.append(words.pop(0))
    for unit in before:
        if not unit.endswith((".service", ".socket", ".target")) or len(unit.split()) != 1:
            raise BadRequest(f"--before takes the whole name of a unit, such as vllm.service, not {unit!r}.")
    return into, tuple(before), check


def _look(places: Places, command: Sequence[str], home: Home, before: Sequence[str]) -> JsonObject:
    if places.look() is None:
        written = _differing(places.cron, {CRON_FILE: cron_file(command)})
        return {"backend": "cron", "written": [*written], "removed": []}
    written = _differing(places.units, systemd_units(command, home.leases, before))
    return {"backend": "systemd", "written": [*written], "removed": []}


def _install(places: Places, command: Sequence[str], home: Home, before: Sequence[str]) -> JsonObject:
    systemd = places.look()
    if systemd is None:
        if not os.path.isdir(places.cron):  # noqa: PTH112 (pathlib costs 9 ms at start)
            raise Refused(
                f"This host has neither systemd nor {places.cron}: have its own means run `{' '.join(command)} tend` "
                "at boot and every minute."
            )
        return {"backend": "cron", "written": [*_write(places.cron, {CRON_FILE: cron_file(command)})], "removed": []}
    written = _write(places.units, systemd_units(command, home.leases, before))
    if written:  # a reload fires timers of others early, so not without need
        systemd.reload()
    systemd.ask("enable", "--quiet", RECOVER)
    systemd.ask("enable", "--quiet", "--now", SWEEP)
    return {"backend": "systemd", "written": [*written], "removed": []}


def _remove(places: Places, command: Sequence[str], home: Home, _: Sequence[str]) -> JsonObject:
    held = [lease for lease in home.lease_ids() if _open(home, lease)]
    if held:
        raise Refused(f"Leases are open on this host ({', '.join(held)}): undo them first.")
    systemd = places.look()
    if systemd is None:
        return {"backend": "cron", "written": [], "removed": [*_unlink(places.cron, (CRON_FILE,))]}
    for unit in (SWEEP, RECOVER):
        if os.path.exists(f"{places.units}/{unit}"):  # noqa: PTH110 (pathlib costs 9 ms at start)
            systemd.ask("disable", "--quiet", "--now", unit)
    removed = _unlink(places.units, tuple(systemd_units(command, home.leases)))
    if removed:
        systemd.reload()
    return {"backend": "systemd", "written": [], "removed": [*removed]}


def _open(home: Home, lease: str) -> bool:
    from chaosgpu.agent.clock import SystemClock  # noqa: PLC0415 (only here)
    from chaosgpu.agent.folder import LeaseFolder  # noqa: PLC0415 (only here)
    from chaosgpu.agent.record import OPEN  # noqa: PLC0415 (only here)

    state = LeaseFolder(home, lease, SystemClock()).seen()
    return state is not None and state.state in OPEN


def _write(folder: str, files: Dict[str, str]) -> List[str]:
    """Write those that differ, each as a whole or not at all; return their paths."""
    written = []
    try:
        for path, text in _differing(folder, files).items():
            with open(f"{path}.new", "w", encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(f"{path}.new", 0o644)  # noqa: PTH101 (as above)
            os.replace(f"{path}.new", path)  # noqa: PTH105 (as above)
            written.append(path)
    except OSError as error:
        raise StoreFailed(f"{error.filename} cannot be written: {error.strerror}.") from error
    return written


def _differing(folder: str, files: Dict[str, str]) -> Dict[str, str]:
    """Return the path and the text of each that is not there as it should be."""
    named = {f"{folder}/{name}": text for name, text in files.items()}
    return {path: text for path, text in named.items() if _read(path) != text}


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            return file.read()
    except FileNotFoundError:
        return None


def _unlink(folder: str, names: Sequence[str]) -> List[str]:
    removed = []
    for name in names:
        path = f"{folder}/{name}"
        try:
            os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms at start)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreFailed(f"{path} cannot be removed: {error.strerror}.") from error
        removed.append(path)
    return removed
