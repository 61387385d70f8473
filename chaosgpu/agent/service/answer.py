# SPDX-License-Identifier: Apache-2.0
"""What every verb of this room answers: whether anything changed, how all was seen before and after, what to say."""

from dataclasses import dataclass, field
from typing import Dict, List

from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["Answer"]


@dataclass
class Answer:
    """Filled while a verb works."""

    host: str
    drill: str
    state: str
    before: Dict[str, str] = field(default_factory=dict)
    after: Dict[str, str] = field(default_factory=dict)
    said: List[str] = field(default_factory=list)
    left_alone: List[str] = field(default_factory=list)
    more: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Return it for standard output; what is the same before and after has not changed."""
        said: List[JsonValue] = [*self.said, *self.left_alone]
        left: List[JsonValue] = [*self.left_alone]
        return {
            "host": self.host,
            "drill": self.drill or None,
            "state": self.state,
            "changed": self.before != self.after,
            "before": _text(self.before),
            "after": _text(self.after),
            "things": {**self.after},
            "said": said,
            "left_alone": left,
            **self.more,
        }


def _text(seen: Dict[str, str]) -> str:
    """Return it as lines: what `--diff` compares."""
    return "".join(f"{key}: {word}\n" for key, word in sorted(seen.items()))
