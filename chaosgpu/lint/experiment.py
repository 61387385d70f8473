# SPDX-License-Identifier: Apache-2.0
"""The parts of an experiment that rules ask for. Whatever has the wrong shape is simply not there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from chaosgpu.lint.document import Document
from chaosgpu.lint.nodes import escape

__all__ = [
    "Activity",
    "Control",
    "Place",
    "activities",
    "controls",
    "mapping",
    "referable",
    "sequence",
    "steps",
    "strings",
]

Place = Literal["hypothesis", "method", "rollbacks", "tolerance", "configuration"]
_EMPTY: Mapping[str, object] = {}


def mapping(value: object) -> Mapping[str, object]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def sequence(value: object) -> list[object]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Activity:
    """One action or probe where it stands in the file."""

    place: Place
    pointer: str
    data: Mapping[str, object]

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return str(self.data.get("name") or self.data.get("ref") or "without a name")

    @property
    def provider(self) -> Mapping[str, object]:
        """Its provider, empty where it has none."""
        return mapping(self.data.get("provider"))

    @property
    def kind(self) -> str:
        """The type of its provider: "python", "process" or "http"."""
        return str(self.provider.get("type"))

    @property
    def module(self) -> str:
        """The Python module it names, or an empty text."""
        module = self.provider.get("module")
        return module if isinstance(module, str) and self.kind == "python" else ""

    @property
    def function(self) -> str:
        """The Python function it names, or an empty text."""
        function = self.provider.get("func")
        return function if isinstance(function, str) and self.kind == "python" else ""


@dataclass(frozen=True)
class Control:
    """One control and whether it stands at the level of the experiment, where it sees the whole run."""

    pointer: str
    data: Mapping[str, object]
    of_experiment: bool

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return str(self.data.get("name") or "without a name")

    @property
    def provider(self) -> Mapping[str, object]:
        """Its provider, empty where it has none."""
        return mapping(self.data.get("provider"))


def steps(document: Document) -> Iterator[Activity]:
    """Yield what the run goes through: the hypothesis' probes, the method, the rollbacks."""
    hypothesis = mapping(document.data.get("steady-state-hypothesis"))
    yield from _listed("hypothesis", "/steady-state-hypothesis/probes", hypothesis.get("probes"))
    yield from _listed("method", "/method", document.data.get("method"))
    yield from _listed("rollbacks", "/rollbacks", document.data.get("rollbacks"))


def activities(document: Document) -> Iterator[Activity]:
    """Yield every activity: the steps, probes that judge a tolerance, and probes that make a configuration value."""
    for step in steps(document):
        yield step
        tolerance = mapping(step.data.get("tolerance"))
        if tolerance.get("type") == "probe":
            yield Activity("tolerance", f"{step.pointer}/tolerance", tolerance)
    for key, value in mapping(document.data.get("configuration")).items():
        if mapping(value).get("type") == "probe":
            yield Activity("configuration", f"/configuration/{escape(str(key))}", mapping(value))


def controls(document: Document) -> Iterator[Control]:
    """Yield the controls of the experiment, of the hypothesis and of each activity."""
    yield from _controls("", document.data, of_experiment=True)
    hypothesis = mapping(document.data.get("steady-state-hypothesis"))
    yield from _controls("/steady-state-hypothesis", hypothesis, of_experiment=False)
    for step in steps(document):
        yield from _controls(step.pointer, step.data, of_experiment=False)


def referable(document: Document) -> list[Activity]:
    """Return the activities that a `ref` can reach, in the order in which the last of a name wins."""
    named = [step for step in steps(document) if isinstance(step.data.get("name"), str) and step.data["name"]]
    return [step for step in named if step.place == "method"] + [step for step in named if step.place == "hypothesis"]


def strings(value: object, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield pointer and text of every string inside a value."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{pointer}/{escape(str(key))}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{pointer}/{index}")


def _listed(place: Place, pointer: str, items: object) -> Iterator[Activity]:
    for index, item in enumerate(sequence(items)):
        if isinstance(item, dict):
            yield Activity(place, f"{pointer}/{index}", item)


def _controls(pointer: str, holder: Mapping[str, object], *, of_experiment: bool) -> Iterator[Control]:
    for index, item in enumerate(sequence(holder.get("controls"))):
        if isinstance(item, dict):
            yield Control(f"{pointer}/controls/{index}", item, of_experiment)
