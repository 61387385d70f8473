# SPDX-License-Identifier: Apache-2.0
"""Read the file of a plan; what is wrong in it is one sentence, with the place and the nearest known key."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chaosgpu.drill.plan import IN_WORDS, Plan
from chaosgpu.errors import BadArgument

__all__ = ["Loader", "Written", "parse", "read", "sentence_of"]

_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Written:
    """A plan with the bytes that it was read from: these are what is approved."""

    plan: Plan
    path: Path
    raw: bytes

    @property
    def sha256(self) -> str:
        """The digest of the file."""
        return hashlib.sha256(self.raw).hexdigest()

    def beside(self, name: str) -> Path:
        """Return a path that the plan gives from its own folder."""
        return self.path.parent / name


def read(path: Path) -> Written:
    """Read a plan; BadArgument with one sentence on what is wrong in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise BadArgument(f"The plan {path} could not be read: {error.strerror}.") from error
    if len(raw) > _MOST_BYTES:
        raise BadArgument(f"{path} was not read: it is larger than {_MOST_BYTES} bytes. Is it a plan?")
    return Written(parse(raw, str(path)), path.absolute(), raw)


def parse(raw: bytes, name: str) -> Plan:
    """Check the bytes of a plan."""
    try:
        document = yaml.load(raw.decode(), Loader)  # noqa: S506 (a safe loader with fewer guesses and one more check)
    except UnicodeDecodeError as error:
        raise BadArgument(f"{name} could not be read: byte {error.start} is not UTF-8. Save it as UTF-8.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadArgument(f"{name} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict):
        raise BadArgument(f"{name} is no plan: it must be an object with drill, title, hosts, experiments and window.")
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        raise BadArgument(f"The plan {name} cannot be used: {sentence_of(error, Plan)}") from error


class Loader(yaml.SafeLoader):
    """Reads true, false, null and plain numbers, and all else as text; refuses a key that is there twice.

    YAML 1.1 takes 11:30 for the number 690, `no` for false and 2026-12-01 for a date.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (yaml's own attribute)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        """Build an object whose keys are all different."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a text", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key_node.value)
        found: dict[object, object] = super().construct_mapping(node, deep)
        return found


for _tag, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_form})$"), [*_first])
Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def sentence_of(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong as one sentence: the first mistake, and how many more there are."""
    # A key that is not known is most often why another is missing.
    found = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    more = f" ({len(found) - 1} more behind it)" if len(found) > 1 else ""
    return f"{_sentence(found[0], model)}{more}".rstrip(".") + "."


def _sentence(error: ErrorDetails, model: type[BaseModel]) -> str:
    place = [str(part) for part in error["loc"]]
    where, what = ".".join(place[:-1]) or "the file", place[-1] if place else "it"
    if error["type"] == "extra_forbidden":
        return f"{where} has no key {what!r}{_near(what, _known(place[:-1], model))}"
    if error["type"] == "missing":
        return f"{where} lacks the key {what!r}"
    if error["type"] == "string_type":
        return f"{'.'.join(place)} must be a text: write it in quotes"
    pattern = error.get("ctx", {}).get("pattern")
    if pattern in IN_WORDS:
        return f"{'.'.join(place)} {IN_WORDS[pattern]}"
    said = error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(place) or 'the file'}: {said[0].lower()}{said[1:]}"


def _near(word: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f", perhaps {close[0]!r} was meant"
    return f"; it has: {', '.join(known)}" if known else ""


def _known(place: Sequence[str], model: type[BaseModel]) -> Mapping[str, object]:
    """Return the keys that are known at a place of the file, by the names that people write."""
    for part in place:
        if part.isdecimal():
            continue
        inside = model.model_fields.get(part)
        found = None if inside is None else _model_in(inside.annotation)
        if found is None:
            return {}
        model = found
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one)) is not None), None)
