# SPDX-License-Identifier: Apache-2.0
"""A client process: writes with a history, floods with queries, or bursts with embeddings, and ends.

It ends when its time is over, when standard input is closed (its controller is gone, or stops it), and in any case by a
deadline of the kernel's. It says one line when it has begun to be answered, and one at its end.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from chaosgpu.errors import ChaosGpuError
from chaosgpu.fleet.values import JsonObject
from chaosgpu.vectordb.backends.connect import connect, connected
from chaosgpu.vectordb.history import Header, Recorder
from chaosgpu.vectordb.load import Tally, load
from chaosgpu.vectordb.order import Order
from chaosgpu.vectordb.recording import Plan, Session

__all__ = ["main"]

_GRACE_S = 20.0


def main() -> int:
    """Do what the one line on standard input says."""
    order = Order.from_json(sys.stdin.readline())
    signal.alarm(int(order.duration_s + order.timeout_s + _GRACE_S) + 1)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threading.Thread(target=_watch_input, args=(over,), daemon=True).start()
    try:
        with connected(order.where) as backend:
            backend.open(order.collection)
            backend.count(order.collection)
    except ChaosGpuError as error:
        _say({"error": str(error), "kind": type(error).__name__})
        return 1
    result = _write(order, over) if order.role == "write" else _load(order, over)
    Path(order.report).write_text(json.dumps(result) + "\n", encoding="utf-8")
    return 0


def _write(order: Order, over: threading.Event) -> JsonObject:
    plan = Plan(order.seed, order.dimension, order.duration_s, order.clients, order.readers, order.batch,
                order.rate_per_s)  # fmt: skip
    history = Path(order.report).with_suffix(".jsonl")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(history, flags, 0o600), "w", encoding="utf-8") as file:
        recorder = Recorder(file, Header(order.seed, order.dimension, order.collection, order.kind))
        _say({"begun": True})
        tally = Session(plan, order.collection, lambda: connect(order.where), recorder, over).run()
    return {"acknowledged": tally.acknowledged, "failed": tally.failed, "unknown": tally.unknown,
            "errors": dict(tally.errors)}  # fmt: skip


def _load(order: Order, over: threading.Event) -> JsonObject:
    tally = Tally()

    def tell() -> None:
        # How long a first answer may take is up to who waits for this line: a large batch can take many seconds.
        if tally.first.wait(order.duration_s):
            _say({"begun": True})

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    load(order, over, tally)
    return tally.to_json()


def _watch_input(over: threading.Event) -> None:
    """End when the other end of standard input is closed."""
    while os.read(0, 4096):
        pass
    over.set()


def _say(line: JsonObject) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
