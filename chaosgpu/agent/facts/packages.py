# SPDX-License-Identifier: Apache-2.0
"""The packages that a GPU host stands on, by dpkg's state or rpm, kept by that record's time: read once a change."""

import json
import os
import re
from dataclasses import asdict, dataclass
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["STATUS", "Packages", "by_rpm", "cache_file", "installed", "packages"]

STATUS = "/var/lib/dpkg/status"
_FORM = 3  # of the kept file
# The driver, CUDA, what stands on them, what they are built for, and what changes them by itself.
_OURS = re.compile(
    r"nvidia|cuda|cudnn|nccl|cublas|cusparse|nvjitlink|nvinfer|tensorrt|nvsdm|nvlsm|nscq|datacenter-gpu-manager"
    r"|triton|dkms|mlnx|mellanox|ofed|doca-|rdma-core|^docker|^containerd|^runc$|^unattended-upgrades$"
    r"|^linux-(image|headers|modules)-|^linux-(generic|virtual|aws|azure|gcp|oracle|lowlatency)"
)


@dataclass(frozen=True)
class Packages:
    """Name and version of each, which are held, or why that is unknown, and which are half installed."""

    versions: Mapping[str, str]
    holds: Tuple[str, ...]
    broken: Mapping[str, str]
    manager: str = "dpkg"
    holds_unknown: str = ""

    def version(self, pattern: str) -> Optional[Tuple[str, str]]:
        """Return name and version of the first package whose whole name fits; None where there is none."""
        found = sorted(name for name in self.versions if re.fullmatch(pattern, name))
        return (found[0], self.versions[found[0]]) if found else None


def installed(tree: Tree, kept: Optional[str] = None) -> Packages:
    """Read them; `kept` is the file that keeps them from one reading to the next."""
    state = tree.stat(STATUS)
    if state is None or by_rpm(tree):
        return _of_rpm(tree, kept)
    key: List[JsonValue] = [_FORM, tree.root, state.st_mtime_ns, state.st_size, state.st_ino]
    return _once(kept, key, lambda: _parsed(tree.read(STATUS)))


def by_rpm(tree: Tree) -> bool:
    """Tell it as the packages' own tools do (`of_host`): dnf and rpm are there, and apt or dpkg is not."""
    there = {name: tree.exists(f"/usr/bin/{name}") for name in ("apt-get", "dnf", "dpkg", "rpm")}
    return there["dnf"] and there["rpm"] and not (there["apt-get"] and there["dpkg"])


def _of_rpm(tree: Tree, kept: Optional[str]) -> Packages:
    from chaosgpu.agent.facts import rpms  # noqa: PLC0415 (most hosts are of the other kind)

    key = rpms.key_of(tree)
    if key is None:
        raise UnknownFact(f"{STATUS} is not there, nor a record of rpm's: this host has no packages of a known kind")

    def read() -> Packages:
        versions, holds, broken, why = rpms.read(tree, _OURS)
        return Packages(versions, tuple(holds), broken, "rpm", why)

    return _once(kept, [_FORM, tree.root, *key], read)


def _once(kept: Optional[str], key: List[JsonValue], read: Callable[[], Packages]) -> Packages:
    """Return what was kept under this key, or read it and keep it."""
    found = None if kept is None else _kept(kept, key)
    if found is None:
        found = read()
        if kept is not None and not found.holds_unknown:  # whether a file may be read does not show in its state
            _keep(kept, key, found)
    return found


def packages(found: Packages) -> Answer:
    """Return them as facts."""
    broken: JsonObject = dict(found.broken)
    answer = Answer({"manager": found.manager, "installed": dict(found.versions), "broken": broken})
    if found.holds_unknown:
        answer.unknown["holds"] = found.holds_unknown
    else:
        answer.values["holds"] = [*found.holds]
    return answer


def cache_file(environment: Mapping[str, str], user_id: int) -> str:
    """Return where packages are kept: in the agent's home where one is named, else where caches belong."""
    home = environment.get("CHAOSGPU_AGENT_HOME")
    if home:
        return f"{home}/cache/packages.json"
    if user_id == 0:
        return "/var/cache/chaosgpu/packages.json"
    caches = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '/nonexistent')}/.cache"
    return f"{caches}/chaosgpu/packages.json"


def _parsed(raw: bytes) -> Packages:
    versions: Dict[str, str] = {}
    broken: Dict[str, str] = {}
    holds: List[str] = []
    for record in raw.decode(errors="replace").split("\n\n"):
        name = record.lstrip("\n").partition("\n")[0].partition(": ")[2].strip()
        if not name or not _OURS.search(name):
            continue
        field = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line and line[0] != " ")
        want, _, rest = field.get("Status", "").partition(" ")
        flag, _, status = rest.partition(" ")
        if status in ("not-installed", "config-files", ""):
            continue
        shown = _named(name, field.get("Architecture", ""))
        versions[shown] = field.get("Version", "")
        if want == "hold":
            holds.append(shown)
        if status != "installed" or flag != "ok":
            broken[shown] = f"{flag} {status}".replace("ok ", "", 1)
    return Packages(versions, tuple(sorted(holds)), broken)


def _named(name: str, architecture: str) -> str:
    """Name a package of another architecture with it, as dpkg does: both may be installed."""
    native = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el"}.get(os.uname().machine)
    return name if architecture in ("all", "", native) else f"{name}:{architecture}"


def _kept(path: str, key: List[JsonValue]) -> Optional[Packages]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 (pathlib costs 9 ms at start)
            kept = json.load(file)
        if kept["key"] != key:
            return None
        return Packages(dict(kept["versions"]), tuple(kept["holds"]), dict(kept["broken"]), str(kept["manager"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None  # it is only a shortcut


def _keep(path: str, key: List[JsonValue], found: Packages) -> None:
    """Keep it for the next time; a host on which it cannot be kept is only slower."""
    folder = os.path.dirname(path)  # noqa: PTH120 (pathlib costs 9 ms at start)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103 (as above)
        written = f"{path}.{os.getpid()}"
        with open(written, "w", encoding="utf-8") as file:  # noqa: PTH123 (as above)
            json.dump({"key": key, **asdict(found)}, file)
        os.replace(written, path)  # noqa: PTH105 (as above)
    except OSError:
        return
