# SPDX-License-Identifier: Apache-2.0
"""The whole document: every section of a host's facts, or those that were asked for.

What cannot be read is in `unknown`, by its whole name, with why.
"""

import os
from typing import Callable, Dict, List, Mapping, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.facts.apt import apt
from chaosgpu.agent.facts.containers import containers
from chaosgpu.agent.facts.cuda import cuda
from chaosgpu.agent.facts.driver import driver
from chaosgpu.agent.facts.engines import engines
from chaosgpu.agent.facts.environments import environments, triton_version
from chaosgpu.agent.facts.gpus import gpus
from chaosgpu.agent.facts.kernel import kernel
from chaosgpu.agent.facts.nics import nics
from chaosgpu.agent.facts.packages import Packages, by_rpm, cache_file, installed, packages
from chaosgpu.agent.facts.services import services
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from chaosgpu.agent.facts.units import only_to_ask, units
from chaosgpu.agent.readings.catalogue import Answer, Tools
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

__all__ = ["SECTIONS", "document"]

_MOST_NAMES = 64


class _Asked:
    """One request: the tree, what was named, and the packages, which are read once however many sections need them."""

    def __init__(self, params: JsonMapping, tools: Tools) -> None:
        self.tree = Tree(_root(params))
        self.tools = tools
        self.services = _texts(params, "services")
        self.engines = [_absolute("engines", path) for path in _texts(params, "engines")]
        self.environments = _paths(params, "environments")
        self.triton = _absolute("triton", values.optional_text(params, "triton") or "/opt/tritonserver")
        self._packages: Optional[Tuple[Optional[Packages], str]] = None

    def packages(self) -> Optional[Packages]:
        """Return the packages, or None where they are unknown."""
        return self._read()[0]

    def section_of_packages(self) -> Answer:
        """Return the packages as facts, or why they are unknown."""
        found, why = self._read()
        return Answer({}, {"installed": why, "holds": why, "broken": why}) if found is None else packages(found)

    def section_of_movers(self) -> Answer:
        """Return what holds packages and what moves them by itself, under apt's names also where it is dnf."""
        if not by_rpm(self.tree):
            return apt(self.tree, self.packages())
        from chaosgpu.agent.facts.dnf import dnf  # noqa: PLC0415 (most hosts are of the other kind)

        return dnf(self.tree, self.packages())

    def section_of_triton(self) -> Answer:
        """Return the version of the host's own Triton server, if it has one."""
        answer = Answer()
        try:
            answer.values["version"] = triton_version(self.tree, self.triton)
        except UnknownFact as why:
            answer.unknown["version"] = str(why)
        return answer

    def _read(self) -> Tuple[Optional[Packages], str]:
        if self._packages is None:
            kept = cache_file(os.environ, os.geteuid()) if self.tree.is_host else None
            try:
                self._packages = (installed(self.tree, kept), "")
            except UnknownFact as why:
                self._packages = (None, str(why))
        return self._packages


SECTIONS: Mapping[str, Callable[[_Asked], Answer]] = {
    "kernel": lambda asked: kernel(asked.tree),
    "driver": lambda asked: driver(asked.tree, asked.packages()),
    "cuda": lambda asked: cuda(asked.tree),
    "packages": _Asked.section_of_packages,
    "apt": _Asked.section_of_movers,
    "containers": lambda asked: containers(asked.tree, asked.packages()),
    "services": lambda asked: services(asked.tree, asked.services),
    "environments": lambda asked: environments(asked.tree, asked.environments),
    "engines": lambda asked: engines(asked.tree, asked.engines),
    "triton": _Asked.section_of_triton,
    "units": lambda asked: units(only_to_ask(asked.tools.find_systemd) if asked.tree.is_host else None),
    "nics": lambda asked: nics(asked.tree),
    "gpus": lambda asked: gpus(asked.tools),
}


def document(params: JsonMapping, tools: Tools) -> Answer:
    """Return every section, or those that are named."""
    wanted = _texts(params, "sections") or list(SECTIONS)
    strange = sorted(set(wanted) - set(SECTIONS))
    if strange:
        raise BadRequest(f"There is no section {', '.join(strange)}; there are: {', '.join(SECTIONS)}.")
    asked = _Asked(params, tools)
    answer = Answer()
    for name in wanted:
        try:
            section = SECTIONS[name](asked)
        except UnknownFact as why:
            answer.unknown[name] = str(why)
            continue
        answer.values[name] = section.values
        answer.unknown.update({f"{name}.{key}": why for key, why in section.unknown.items()})
    return answer


def _root(params: JsonMapping) -> str:
    return _absolute("root", values.optional_text(params, "root") or "/")


def _absolute(key: str, path: str) -> str:
    if not path.startswith("/"):
        raise BadRequest(f"{key} must be an absolute path, not {path!r}.")
    return path


def _texts(params: JsonMapping, key: str) -> List[str]:
    found = params.get(key, [])
    if not isinstance(found, list) or len(found) > _MOST_NAMES:
        raise BadRequest(f"{key} must be a list of at most {_MOST_NAMES} texts, not {found!r}.")
    return [_named(key, one) for one in found]


def _paths(params: JsonMapping, key: str) -> Dict[str, str]:
    found: JsonObject = values.mapping(params, key)
    if len(found) > _MOST_NAMES:
        raise BadRequest(f"{key} must have at most {_MOST_NAMES} entries.")
    return {name: _absolute(f"{key}.{name}", _named(key, path)) for name, path in found.items()}


def _named(key: str, one: JsonValue) -> str:
    if not isinstance(one, str) or not one:
        raise BadRequest(f"{key} must hold texts that are not empty, not {one!r}.")
    return one
