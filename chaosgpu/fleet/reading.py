# SPDX-License-Identifier: Apache-2.0
"""One reading from the agent, as a number, a flag, a text or an object; what is unknown raises, it is never None."""

from dataclasses import dataclass

from chaosgpu.errors import AgentFailed, ReadingUnknown
from chaosgpu.fleet.ask import ask
from chaosgpu.fleet.values import JsonObject, JsonValue, whole_object

__all__ = ["Answer", "taken"]


@dataclass(frozen=True)
class Answer:
    """What the agent could read, and why it could not read the rest."""

    subject: str
    values: JsonObject
    unknown: JsonObject

    def value(self, name: str) -> JsonValue:
        """Return one value; ReadingUnknown with the reason where it cannot be known."""
        found = self.values.get(name)
        if found is None:
            why = self.unknown.get(name, "the agent did not say why; are agent and controller the same version?")
            raise ReadingUnknown(
                f"{name} of {self.subject} is unknown: {why}. Unknown is neither healthy nor failed: "
                "ask for something that this product can tell, or take the probe out for it."
            )
        return found

    def number(self, name: str) -> float:
        """Return a number."""
        found = self.value(name)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise self._wrong(name, "a number")
        return found

    def whole(self, name: str) -> int:
        """Return a whole number."""
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Return true or false."""
        found = self.value(name)
        if not isinstance(found, bool):
            raise self._wrong(name, "true or false")
        return found

    def text(self, name: str) -> str:
        """Return a text."""
        found = self.value(name)
        if not isinstance(found, str):
            raise self._wrong(name, "a text")
        return found

    def nested(self, name: str) -> "Answer":
        """Return the values inside an object, with the reasons of the whole answer."""
        self.value(name)
        return Answer(self.subject, whole_object(self.values, name), self.unknown)

    def some(self, *names: str) -> JsonObject:
        """Return these values, and the reasons of the missing ones under "unknown"; all missing is ReadingUnknown."""
        known: JsonObject = {name: self.values[name] for name in names if self.values.get(name) is not None}
        if not known:
            self.value(names[0])
        missing: JsonObject = {name: self.unknown[name] for name in names if name in self.unknown}
        if missing:
            known["unknown"] = missing
        return known

    def _wrong(self, name: str, due: str) -> AgentFailed:
        return AgentFailed(
            f"The agent gave {self.values[name]!r} as {name} of {self.subject}, where {due} was due; "
            "are agent and controller the same version?"
        )


def taken(reading: str, subject: str, params: JsonObject, hosts: str, timeout_s: float) -> Answer:
    """Take one reading on a host; `subject` is what it is of, for sentences."""
    answer = ask(hosts, "read", {"reading": reading, "params": params}, timeout_s)
    return Answer(subject, whole_object(answer, "values"), whole_object(answer, "unknown"))
