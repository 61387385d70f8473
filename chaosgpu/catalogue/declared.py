# SPDX-License-Identifier: Apache-2.0
"""What an experiment of the catalogue says of itself, in its `extensions`, which Chaos Toolkit keeps and ignores."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, model_validator

__all__ = ["Declared", "Needs", "Shown"]

Sentence = Annotated[str, Field(min_length=15, max_length=400)]


class Needs(BaseModel):
    """What must be there to play it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Triton alone; with work for the GPU; with gateway, embedding and database; with Prometheus and Alertmanager, too.
    lab: Literal["triton", "compute", "pipeline", "alerts"] | None = None
    # It is played once on each of these.
    databases: tuple[Literal["chroma", "pgvector", "milvus"], ...] = ()
    # Its data lies on a file system of its own, which is filled.
    disk: StrictBool = False
    # Machines with systemd, for faults of units and packages.
    hosts: Annotated[int, Field(ge=0, le=8)] = 0

    def __str__(self) -> str:
        """Say it in a few words."""
        parts = {
            "triton": "lab",
            "compute": "lab --gpu-work",
            "pipeline": "lab --pipeline",
            "alerts": "lab --pipeline --alerts",
        }
        said = [parts[self.lab]] if self.lab else []
        where = " on a disk of its own" if self.disk else ""
        said += [f"a database ({', '.join(self.databases)}){where}"] if self.databases else []
        said += [f"{self.hosts} {'host' if self.hosts == 1 else 'hosts'} with systemd"] if self.hosts else []
        return ", ".join(said)

    @model_validator(mode="after")
    def _a_disk_has_a_database_on_it(self) -> Self:
        if self.disk and not self.databases:
            raise ValueError("disk is that of a database: name the databases, too")
        return self


class Shown(BaseModel):
    """What a step gives where the finding is the declared one; a failed one gives its error, as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Annotated[str, Field(min_length=3)]
    # The part of what it gives: names and numbers with dots between them; without it all.
    at: str = ""
    equals: StrictBool | StrictInt | StrictStr | None = None
    least: float | None = None
    most: float | None = None
    says: str | None = None

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if all(one is None for one in (self.equals, self.least, self.most, self.says)):
            raise ValueError("needs one of equals, least, most, says: else anything would be the finding")
        return self

    def __str__(self) -> str:
        """Say what is wanted in a few words."""
        wanted = {"": self.equals, "at least ": self.least, "at most ": self.most, "says ": self.says}
        said = [f"{word}{value!r}" for word, value in wanted.items() if value is not None]
        return " and ".join(said)


class Declared(BaseModel):
    """The block `chaosgpu` of an experiment's `extensions`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["chaosgpu"]
    level: Annotated[int, Field(ge=1, le=4)]
    models: Sentence  # the failure of the field that it re-plays
    service: Literal["fragile", "hardened"]
    differs: Sentence  # what this form has or lacks
    # No health check among them: a steady state is what users get.
    steady_state: Annotated[
        tuple[
            Literal[
                "answers",
                "tail latency",
                "recall",
                "acknowledged writes",
                "refusals in time",
                "alerts",
                "new processes",
            ],
            ...,
        ],
        Field(min_length=1),
    ]
    needs: Needs
    expected_verdict: Literal["passed", "deviated"]
    expected_finding: Sentence
    # The same finding for a machine: which probes of the hypothesis may break first, with what, and what steps show.
    deviates: tuple[Shown, ...] = ()
    shows: Annotated[tuple[Shown, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _deviates_by_something(self) -> Self:
        if (self.expected_verdict == "deviated") != bool(self.deviates):
            raise ValueError("deviates names what breaks in a form that ends deviated, and nothing in any other")
        return self
