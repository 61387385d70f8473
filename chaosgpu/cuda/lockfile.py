# SPDX-License-Identifier: Apache-2.0
"""Reading and writing the lock file; what is wrong in it is one sentence, with the place and the nearest known key."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chaosgpu.cuda.lock import Lock
from chaosgpu.errors import BadArgument

__all__ = ["dump", "parse", "read", "write"]

_HEAD = """\
# What these hosts should be. `chaosgpu drift scan --lock THIS_FILE` says which of them are not, and what that breaks.
# Take a line out to let it be anything. Versions are texts: put one in quotes that looks like a number.
"""


def read(path: Path) -> Lock:
    """Read a lock file; BadArgument with everything that is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadArgument(f"The lock file {path} could not be read: {error.strerror}.") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Lock:
    """Check the text of a lock file."""
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 (a safe loader with one more check)
    except yaml.YAMLError as error:
        raise BadArgument(f"{name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict):
        raise BadArgument(f"{name} is no lock file: it must be an object with version, recorded and groups.")
    try:
        lock = Lock.model_validate(document)
    except ValidationError as error:
        said = "\n".join(f"  {_sentence(one)}" for one in _told_once(error.errors()))
        raise BadArgument(f"The lock file {name} cannot be used:\n{said}") from error
    _check_hosts(lock, name)
    return lock


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice: the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Build an object whose keys are all different."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        found: dict[object, object] = super().construct_mapping(node, deep)
        return found


def _check_hosts(lock: Lock, name: str) -> None:
    of_group: dict[str, str] = {}
    for group, members in lock.groups.items():
        for host in members.hosts:
            if host in of_group:
                raise BadArgument(f"{name}: the host {host} is in {of_group[host]} and in {group}; let it be in one.")
            of_group[host] = group
    for host in lock.exceptions:
        if host not in of_group:
            raise BadArgument(f"{name}: there is an exception for {host}, which is in no group{_near(host, of_group)}")


def _told_once(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what a union says for each of its kinds."""
    seen: dict[tuple[object, ...], ErrorDetails] = {}
    for one in errors:
        place = tuple(part for part in one["loc"] if not _is_kind(part))
        seen.setdefault(place, {**one, "loc": place})
    return list(seen.values())


def _is_kind(part: object) -> bool:
    return isinstance(part, str) and (part.startswith(("list[", "constrained-", "function-")) or part in _KINDS)


_KINDS = frozenset({"str", "int", "float", "bool", "Text", "Texts"})


def _sentence(error: ErrorDetails) -> str:
    place = [str(part) for part in error["loc"]]
    where, what = ".".join(place[:-1]) or "the file", place[-1] if place else "it"
    found = error.get("input")
    if error["type"] == "extra_forbidden":
        return f"{where} has no key {what!r}{_near(what, _known(place[:-1]))}"
    if error["type"] == "missing":
        return f"{where} lacks the key {what!r}."
    if error["type"] == "string_type" and isinstance(found, (int, float)):
        return f"{'.'.join(place)} must be a text: write it in quotes, as '{found}'."
    return f"{'.'.join(place)} is {found!r}: {error['msg'].lower()}."


def _near(word: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it has: {', '.join(known)}." if known else "."


def _known(place: Sequence[str]) -> Mapping[str, object]:
    """Return the keys that are known at a place of the file."""
    model: type[BaseModel] | None = Lock
    by_name = False
    for part in place:
        if model is None:
            return {}
        if by_name:
            by_name = False  # the name of a group, a device and the like: the same model goes on
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        model, by_name = _model_in(annotation)
    return {} if model is None or by_name else model.model_fields


def _model_in(annotation: object) -> tuple[type[BaseModel] | None, bool]:
    """Return the model in an annotation, and whether it stands in a dictionary."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    inside = [_model_in(one) for one in get_args(annotation)]
    model = next((found for found, _ in inside if found is not None), None)
    return model, getattr(annotation, "__origin__", None) is dict or any(by_name for _, by_name in inside)


def dump(lock: Lock) -> str:
    """Write a lock as YAML in the order of its keys."""
    plain = lock.model_dump(exclude_none=True, exclude_defaults=False)
    kept = {name: value for name, value in plain.items() if value not in ({}, "", [])}
    look_at = {name: value for name, value in plain["look_at"].items() if value}
    kept["look_at"] = look_at
    if not look_at:
        del kept["look_at"]
    return _HEAD + yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=120)


def write(path: Path, lock: Lock, *, anew: bool) -> None:
    """Write a lock file; one that is there already only where that is asked for."""
    try:
        with path.open("w" if anew else "x", encoding="utf-8") as file:
            file.write(dump(lock))
    except FileExistsError as error:
        raise BadArgument(f"{path} is there already; give --anew to write it anew, or another name.") from error
    except OSError as error:
        raise BadArgument(f"The lock file {path} could not be written: {error.strerror}.") from error
