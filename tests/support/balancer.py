# SPDX-License-Identifier: Apache-2.0
"""A balancer as sites have one before their nodes: each connection goes to a node drawn at random, byte for byte.

`python balancer.py PORT HOST:PORT …` listens on 127.0.0.1, says `ready`, and ends with its standard input.
"""

import random
import socket
import sys
import threading
from contextlib import suppress

_DRAW = random.Random(7)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _carry(client: socket.socket, address: tuple[str, int]) -> None:
    with client, suppress(OSError), socket.create_connection(address, 5) as node:
        node.settimeout(None)
        back = threading.Thread(target=_pipe, args=(node, client), daemon=True)
        back.start()
        _pipe(client, node)
        back.join()


def _serve(listener: socket.socket, nodes: list[tuple[str, int]]) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=_carry, args=(client, _DRAW.choice(nodes)), daemon=True).start()


def main() -> None:
    """Listen until standard input ends."""
    port, *named = sys.argv[1:]
    nodes = [(host, int(number)) for host, _, number in (name.partition(":") for name in named)]
    listener = socket.create_server(("127.0.0.1", int(port)))
    threading.Thread(target=_serve, args=(listener, nodes), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
