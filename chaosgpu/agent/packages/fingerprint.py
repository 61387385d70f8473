# SPDX-License-Identifier: Apache-2.0
"""A host's packages in one normal form: equal before and after means put back, and each difference is a sentence.

Parsed and sorted, since apt writes its marks in another order each time: bytes would differ where nothing does.
"""

import hashlib
import json
from typing import Dict, Iterable, List, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.packages import dkms
from chaosgpu.agent.packages.facts import Facts
from chaosgpu.agent.packages.files import conffiles as conffiles_of
from chaosgpu.agent.packages.files import digest, managed, owned
from chaosgpu.agent.packages.module import built
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonMapping, JsonObject

__all__ = ["differences", "digest_of", "fingerprint"]

_PARTS = ("packages", "auto", "conffiles", "files", "managed", "modules", "dkms", "initramfs")


def fingerprint(tools: Tools, facts: Facts, names: Iterable[str], conffiles: Iterable[str] = ()) -> JsonObject:
    """Return that of these packages; `conffiles` are looked at whether or not a package owns them now."""
    packages: Dict[str, str] = {}
    owned_files: Dict[str, str] = {}
    listed: Dict[str, str] = {}
    paths = set(conffiles)
    sources = {dkms.source_of(path): dkms.UNOWNED for path in paths}
    scope = sorted(set(names))
    for name in scope:
        one = facts.packages.get(name)
        if one is None:
            packages[name] = "absent"
            continue
        packages[name] = f"{one.version} {one.want} {one.flag} {one.status}"
        theirs = conffiles_of(tools, one)
        listed.update({f"{name} {path}": said for path, said in theirs})
        paths.update(path for path, _ in theirs)
    for name in scope:
        one = facts.packages.get(name)
        for path in [] if one is None else owned(tools, one):
            if dkms.source_of(path):
                sources[dkms.source_of(path)] = name
            if path not in paths:
                owned_files[f"{name} {path}"] = digest(tools.path(path))
    return {
        "packages": {**packages},
        "auto": {name: "auto" for name in scope if name in facts.auto},
        "conffiles": {**listed},
        "files": {**owned_files},
        "managed": {**managed(tools, paths)},
        "modules": {**built(tools)},
        "dkms": {**dkms.state(tools, sources)},
    }


def digest_of(found: JsonMapping) -> str:
    """Return one SHA-256 over a fingerprint, for a record."""
    return hashlib.sha256(json.dumps(found, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def differences(before: JsonMapping, after: JsonMapping) -> List[str]:
    """Return a sentence for each difference, none where both are equal; a part that nobody looked at is none."""
    found: List[str] = []
    for part in (part for part in _PARTS if part in before):
        one, other = values.mapping(before, part), values.mapping(after, part)
        found += [f"{part}: {key} {_words(was, now)}" for key, was, now in _unequal(one, other)]
    return found


def _unequal(one: JsonMapping, other: JsonMapping) -> List[Tuple[str, str, str]]:
    keys = sorted({*one, *other})
    pairs = ((key, str(one.get(key, "absent")), str(other.get(key, "absent"))) for key in keys)
    return [row for row in pairs if row[1] != row[2]]


def _words(was: str, now: str) -> str:
    return f"was {was} and is {now}"
