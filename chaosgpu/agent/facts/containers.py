# SPDX-License-Identifier: Apache-2.0
"""The container toolkit, the driver that containers are promised, and the images that run, by their digests."""

import hashlib
import json
import re
import socket
import time
from typing import Callable, Dict, List, Optional

from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["ANSWER_WITHIN_S", "SOCKETS", "containers", "images"]

# Podman speaks Docker's own interface on its socket.
SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock")
ANSWER_WITHIN_S = 3.0
_TOOLKIT = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
_CDI = ("/etc/cdi", "/var/run/cdi")
_CDI_DRIVER = re.compile(rb"libcuda\.so\.(\d+(?:\.\d+)+)")
_MOST_BYTES = 8 << 20

Ask = Callable[[str], JsonValue]


def containers(tree: Tree, found: Optional[Packages], ask: Optional[Ask] = None) -> Answer:
    """Return toolkit, toolkit_packages, runtime_config, cdi_driver and images; `ask` puts a path to the engine."""
    answer = Answer()
    if found is None:
        answer.unknown["toolkit"] = "the packages of this host are unknown"
    else:
        mine: JsonObject = {name: found.versions[name] for name in _TOOLKIT if name in found.versions}
        answer.values["toolkit_packages"] = mine
        answer.note("toolkit", mine.get(_TOOLKIT[0]), f"the package {_TOOLKIT[0]} is not installed")
    put(answer, "runtime_config", lambda: _digest(tree, "/etc/nvidia-container-runtime/config.toml"))
    put(answer, "cdi_driver", lambda: _cdi_driver(tree))
    put(answer, "images", lambda: images(_engine(tree) if ask is None else ask))
    return answer


def _digest(tree: Tree, path: str) -> str:
    return hashlib.sha256(tree.read(path)).hexdigest()[:16]


def _cdi_driver(tree: Tree) -> str:
    """Return the driver version whose libraries the CDI specifications hand to containers."""
    for folder in _CDI:
        for name in tree.some_names(folder):
            match = _CDI_DRIVER.search(tree.read(f"{folder}/{name}")) if "nvidia" in name else None
            if match:
                return match.group(1).decode()
    raise UnknownFact("no CDI specification names a driver's library")


def _engine(tree: Tree) -> Ask:
    if not tree.is_host:
        raise UnknownFact("containers run on a host, and this is a tree of files")
    path = next((path for path in SOCKETS if tree.exists(path)), None)
    if path is None:
        raise UnknownFact("there is no socket of Docker or Podman here")
    end = time.monotonic() + ANSWER_WITHIN_S
    return lambda what: _get(path, what, end)


def images(ask: Ask) -> JsonValue:
    """Return, for each running container by name, its image's name and digest."""
    listed = ask("/containers/json")
    found: JsonObject = {}
    known: Dict[str, JsonValue] = {}
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict):
            continue
        names = one.get("Names")
        name = str(names[0]).lstrip("/") if isinstance(names, list) and names else str(one.get("Id"))[:12]
        image = str(one.get("ImageID"))
        if image not in known:
            known[image] = _repository_digest(ask(f"/images/{image}/json"))
        # An image that was built here has no digest of a registry; its own id is as exact.
        found[name] = {"image": str(one.get("Image")), "digest": known[image] or image}
    return found


def _repository_digest(image: JsonValue) -> JsonValue:
    digests = image.get("RepoDigests") if isinstance(image, dict) else None
    return str(digests[0]).rpartition("@")[2] if isinstance(digests, list) and digests else None


def _get(path: str, what: str, end: float) -> JsonValue:
    """Ask a local engine over its socket; UnknownFact where it does not answer in time, or with anything else."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_left(end))
            connection.connect(path)
            connection.sendall(f"GET {what} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            raw = _all(connection, end)
    except OSError as error:
        raise UnknownFact(f"the engine at {path} did not answer within {ANSWER_WITHIN_S:g} s: {error}") from error
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise UnknownFact(f"the engine at {path} answered {head[:80].decode(errors='replace')!r} to {what}")
    try:
        answer: JsonValue = json.loads(_unchunked(body) if b"chunked" in head.lower() else body)
    except ValueError as error:
        raise UnknownFact(f"the engine at {path} answered {what} with no JSON") from error
    return answer


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("the time is over")
    return left


def _all(connection: socket.socket, end: float) -> bytes:
    blocks: List[bytes] = []
    while sum(map(len, blocks)) < _MOST_BYTES:
        connection.settimeout(_left(end))
        block = connection.recv(65536)
        if not block:
            break
        blocks.append(block)
    return b"".join(blocks)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        whole, body = whole + body[:length], body[length + 2 :]
    return whole
