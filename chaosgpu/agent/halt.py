# SPDX-License-Identifier: Apache-2.0
"""The kill switch: a file on the host, so that it works with no network. It latches until a person resumes."""

import json
import os
from contextlib import suppress
from typing import Dict, Optional

from chaosgpu.agent.clock import rfc3339
from chaosgpu.agent.errors import Halted, StoreFailed
from chaosgpu.agent.host import Host
from chaosgpu.agent.policy import at_once
from chaosgpu.agent.values import JsonObject

__all__ = ["RUN_HALT", "latch", "latched", "refuse_if_latched", "release"]

RUN_HALT = "/run/chaosgpu/HALT"


def latched(host: Host) -> Optional[Dict[str, str]]:
    """Return who halted this host, why and when; None if nobody did. One that cannot be read counts as latched."""
    for path in host.halt_files:
        try:
            with open(path, encoding="utf-8", opener=at_once) as file:
                raw = file.read(65536)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            return {"by": "unknown", "reason": f"{path} is there and cannot be read: {error}", "at": "unknown"}
        return _parse(path, raw)
    return None


def _parse(path: str, raw: str) -> Dict[str, str]:
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {"by": f"the file {path}", "reason": raw.strip()[:200] or "no reason given", "at": "unknown"}
    return {key: str(found.get(key, "unknown")) for key in ("by", "reason", "at")}


def refuse_if_latched(host: Host) -> None:
    """Refuse new faults while the switch is on; see that its file can be made by hand, by whoever has no time then."""
    found = latched(host)
    if found is not None:
        raise Halted(
            f"This host was halted by {found['by']} ({found['reason']}, {found['at']}): no new fault until a person "
            "resumes it with a reason (agent verb resume)."
        )
    for path in host.halt_files:
        with suppress(OSError):  # one of the two may be another user's to make
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)  # noqa: PTH103, PTH120 (pathlib costs 9 ms)


def latch(host: Host, by: str, reason: str) -> JsonObject:
    """Turn the switch on, durably; one that is on already keeps its first reason."""
    found = latched(host)
    if found is None:
        found = {"by": by, "reason": reason, "at": rfc3339(host.clock.wall_s())}
        _write(host.home.halt, json.dumps(found))
    _note(host, {"verb": "halt", "by": by, "reason": reason})
    return dict(found)


def release(host: Host, by: str, reason: str) -> Optional[JsonObject]:
    """Turn the switch off and note who did it and why; return what was latched."""
    found = latched(host)
    _note(host, {"verb": "resume", "by": by, "reason": reason, "was": None if found is None else dict(found)})
    for path in host.halt_files:
        try:
            os.unlink(path)  # noqa: PTH108 (pathlib costs 9 ms)
        except (FileNotFoundError, NotADirectoryError):  # noqa: PERF203 (two files)
            continue
        except OSError as error:
            raise StoreFailed(
                f"The switch {path} cannot be removed: {error.strerror}. The host stays halted."
            ) from error
    return None if found is None else dict(found)


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 (pathlib costs 9 ms)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            # The name alone latches: on a full disk an empty file is a switch that is on.
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not os.path.lexists(path):
            raise StoreFailed(
                f"The switch {path} cannot be made: {error.strerror}. What is in force is undone, and the host is not "
                "halted."
            ) from error


def _note(host: Host, entry: JsonObject) -> None:
    """Keep the history of the switch beside it; a full disk must not keep it from being turned."""
    line = json.dumps({"at": rfc3339(host.clock.wall_s()), "operator": host.operator, **entry}) + "\n"
    try:
        descriptor = os.open(
            f"{host.home.path}/halts.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600
        )
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        return  # the system log has it too
