# SPDX-License-Identifier: Apache-2.0
"""The bench's network: a bridge in a namespace of its own, so that no packet of a drill can leave it."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.plan import BenchFailed, BenchPlan, HostPlan

__all__ = ["BRIDGE", "answers", "inside", "make", "set_link"]

BRIDGE = "rack"
_IP_S = 10.0


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=_IP_S, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"`ip {' '.join(words)}` ended with {done.returncode}: {done.stderr.strip()}")


def make(plan: BenchPlan) -> None:
    """Make the namespace, the bridge in it, and the controller's address on the bridge."""
    _ip("netns", "add", plan.identity)
    for words in (
        ("link", "set", "lo", "up"),
        ("link", "add", BRIDGE, "type", "bridge"),
        ("address", "add", f"{plan.gateway}/24", "dev", BRIDGE),
        ("link", "set", BRIDGE, "up"),
    ):
        _ip("-n", plan.identity, *words)


def set_link(plan: BenchPlan, host: HostPlan, state: str) -> None:
    """Set the controller's end of a host's cable `up` or `down`."""
    _ip("-n", plan.identity, "link", "set", f"vb-{host.machine}", state)


@contextmanager
def inside(plan: BenchPlan) -> Iterator[None]:
    """Be in the bench's network: sockets made here, and processes started here, are there for good.

    Only the calling thread is moved.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(plan.namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.setns(there, os.CLONE_NEWNET)
        finally:
            os.close(there)
        try:
            yield
        finally:
            os.setns(before, os.CLONE_NEWNET)
    except FileNotFoundError as error:
        raise BenchFailed(f"{plan.namespace} is gone: the bench is down. Bring it up with `make bench-up`.") from error
    finally:
        os.close(before)


def answers(plan: BenchPlan, host: HostPlan, port: int, within_s: float) -> bool:
    """Tell whether a server on this port of the host says something, as sshd does, or takes the connection."""
    try:
        with inside(plan), socket.create_connection((host.address, port), within_s) as connection:
            return port != 22 or connection.recv(4) == b"SSH-"
    except OSError:
        return False
