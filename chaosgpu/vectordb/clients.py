# SPDX-License-Identifier: Apache-2.0
"""The client processes of this run: each in a session of its own, with a deadline, ended when this process is gone."""

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from chaosgpu import errors
from chaosgpu.errors import BadArgument, ChaosGpuError, FaultUnverified, Refused
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lease.piped import Started, ask_first, end_piped, last_words, start_piped
from chaosgpu.vectordb.backends import contract
from chaosgpu.vectordb.order import Order

__all__ = ["COMMAND", "Client", "by_name", "refuse_taken", "start", "started"]

COMMAND: tuple[str, ...] = (sys.executable, "-m", "chaosgpu.vectordb.client")
_START_S = 30.0
_END_S = 5.0


@dataclass(eq=False)
class Client:
    """A client process, under way or ended."""

    order: Order
    process: Started
    # Whether somebody told it to stop; one that ends before its time without that has failed.
    stopped: bool = False

    @property
    def going(self) -> bool:
        """Tell whether the process is there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Close its input, which ends it in order; after its time the whole group is killed. Again is harmless."""
        self.stopped = self.stopped or self.going
        end_piped(self.process, self.order.timeout_s + _END_S)

    def report(self) -> JsonObject | None:
        """Return what it said at its end; None where it did not come to that."""
        try:
            found = json.loads(Path(self.order.report).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


_CLIENTS: dict[str, Client] = {}


def by_name(name: object) -> Client:
    """Return the client that was started last under this name."""
    client = _CLIENTS.get(name) if isinstance(name, str) else None
    if client is None:
        raise BadArgument(f"No client {name!r} was started in this run; there is: {', '.join(_CLIENTS) or 'none'}.")
    return client


def started(name: object) -> bool:
    """Tell whether a client of this name was started in this run."""
    return name in _CLIENTS


def refuse_taken(name: str) -> None:
    """Refuse a name under which a client is under way: its collection must not be made anew beneath it."""
    before = _CLIENTS.get(name)
    if before is not None and before.going:
        raise Refused(f"A client {name!r} is already under way; stop it first, or give this one another name.")


def start(order: Order) -> Client:
    """Start a client and wait until the database has answered it; what it says against its order is raised."""
    refuse_taken(order.name)
    log = Path(order.report).with_suffix(".log")
    process = start_piped(COMMAND, log)
    client = Client(order, process)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(client.stop)
        _begin(order, process, log)
        on_failure.pop_all()
    _CLIENTS[order.name] = client
    return client


def _begin(order: Order, process: Started, log: Path) -> None:
    """Give the client its order, and raise what it says against it."""
    within_s = _START_S + order.timeout_s  # a first batch may take as long as every other
    try:
        said = ask_first(process, order.to_json(), within_s)
    except TimeoutError as error:
        raise FaultUnverified(f"The client sent nothing within {within_s:g} s; it was ended.", "unverified") from error
    if said is None:
        raise Refused(f"The client could not begin: {last_words(log)}. All it said is in {log}.")
    if "error" in said:
        name = str(said.get("kind"))
        kind: type[ChaosGpuError] = getattr(errors, name, getattr(contract, name, ChaosGpuError))
        raise kind(str(said["error"]))
