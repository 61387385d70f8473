# SPDX-License-Identifier: Apache-2.0
"""A balancer as sites have one before their nodes: each connection goes to a node drawn at random, byte for byte.

`python balancer.py [--canary FILE] PORT HOST:PORT …` listens on 127.0.0.1, says `ready`, and ends with its standard
input. With the known answer of the model it asks each node for it every second, and draws only among those that were
right the last time; where none was, among all.
"""

import random
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_DRAW = random.Random(7)
_WITHIN_S = 4.0
_EVERY_S = 1.0

Node = tuple[str, int]


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _carry(client: socket.socket, address: Node) -> None:
    with client, suppress(OSError), socket.create_connection(address, 5) as node:
        node.settimeout(None)
        back = threading.Thread(target=_pipe, args=(node, client), daemon=True)
        back.start()
        _pipe(client, node)
        back.join()


def _serve(listener: socket.socket, nodes: list[Node], wrong: set[Node]) -> None:
    while True:
        client, _ = listener.accept()
        chosen = _DRAW.choice([node for node in nodes if node not in wrong] or nodes)
        threading.Thread(target=_carry, args=(client, chosen), daemon=True).start()


def _judge(node: Node, golden_file: str, wrong: set[Node]) -> None:
    """Ask one node for the known answer, again and again."""
    from chaosgpu.errors import ChaosGpuError  # noqa: PLC0415 (the plain balancer starts without it)
    from chaosgpu.triton import canary  # noqa: PLC0415 (likewise)
    from chaosgpu.triton.golden import read_golden  # noqa: PLC0415 (likewise)

    golden, rng = read_golden(Path(golden_file), "chat"), random.Random(1)
    while True:
        try:
            right = canary.ask(f"http://{node[0]}:{node[1]}", golden, _WITHIN_S, rng).right
        except ChaosGpuError:
            right = False
        (wrong.discard if right else wrong.add)(node)
        time.sleep(_EVERY_S)


def main() -> None:
    """Listen until standard input ends."""
    words = sys.argv[1:]
    golden = words[1] if words[0] == "--canary" else None
    port, *named = words if golden is None else words[2:]
    nodes = [(host, int(number)) for host, _, number in (name.partition(":") for name in named)]
    wrong: set[Node] = set()
    listener = socket.create_server(("127.0.0.1", int(port)))
    threading.Thread(target=_serve, args=(listener, nodes, wrong), daemon=True).start()
    for node in nodes if golden else []:
        threading.Thread(target=_judge, args=(node, golden, wrong), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
