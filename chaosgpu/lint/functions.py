# SPDX-License-Identifier: Apache-2.0
"""What is known about the functions that an experiment names, without running any of them.

Modules of trusted packages are imported (this one and Chaos Toolkit, and what the caller adds); of every other
module only its existence is looked up, since importing a stranger's module would run it.
"""

import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["TRUSTED", "exists", "is_trusted", "load", "public_functions", "returned", "signature", "why_not"]

TRUSTED = frozenset({"chaosgpu", "chaoslib", "chaostoolkit"})


def is_trusted(module: str, trusted: frozenset[str]) -> bool:
    """Say whether the module is one that may be imported to look at it."""
    return module.partition(".")[0] in trusted


def exists(module: str) -> bool:
    """Say whether Python would find the module. Nothing of it is run, not even its parent packages."""
    search: list[str] | None = None
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return False
    for depth in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:depth]), search)
        if spec is None:
            return False
        search = list(spec.submodule_search_locations or [])
        if depth < len(parts) and not search:
            return False
    return True


def load(module: str, trusted: frozenset[str]) -> ModuleType | None:
    """Import a trusted module; None where there is none of that name, or it cannot be imported."""
    if not is_trusted(module, trusted) or not exists(module):
        return None
    try:
        return importlib.import_module(module)
    except (ImportError, SyntaxError):
        return None


def why_not(module: str, trusted: frozenset[str]) -> str | None:
    """Return why the module cannot be used, as the end of a sentence; None if it can, or is not known not to."""
    if not exists(module):
        return "which is not there"
    if is_trusted(module, trusted) and load(module, trusted) is None:
        return "which cannot be imported"
    return None


def signature(module: str, function: str, trusted: frozenset[str]) -> inspect.Signature | None:
    """Return the signature with its types; None where the function is not known."""
    loaded = load(module, trusted)
    candidate = getattr(loaded, function, None) if loaded else None
    if not inspect.isfunction(candidate):
        return None
    return inspect.signature(candidate, eval_str=True)


def returned(module: str, function: str, trusted: frozenset[str]) -> object:
    """Return the annotation of what the function returns; `inspect.Signature.empty` where it is not known."""
    found = signature(module, function, trusted) if module and function else None
    return found.return_annotation if found else inspect.Signature.empty


def public_functions(module: str, trusted: frozenset[str]) -> Mapping[str, object]:
    """Return the functions that the module offers to experiments, by name."""
    loaded = load(module, trusted)
    names: list[str] = list(getattr(loaded, "__all__", [])) if loaded else []
    return {name: getattr(loaded, name) for name in names if inspect.isfunction(getattr(loaded, name, None))}


def _spec(name: str, search: list[str] | None) -> ModuleSpec | None:
    """Ask each finder in turn, as the import system does (editable installs bring their own)."""
    found = (finder.find_spec(name, search) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)
