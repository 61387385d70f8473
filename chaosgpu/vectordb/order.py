# SPDX-License-Identifier: Apache-2.0
"""What a client process is told, over its standard input: nothing of it, the key least of all, is on a command line."""

import json
from dataclasses import asdict, dataclass

from chaosgpu.errors import BadArgument
from chaosgpu.vectordb.backends.address import Address, address

__all__ = ["LONGEST_S", "Order", "bounded", "checked_name", "whole"]

LONGEST_S = 3600.0
_MOST_CLIENTS = 64
_MOST_RATE = 5000.0
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Order:
    """One client process. `role` is write, flood or burst; `rate_per_s` is that of each client, 0 is no limit."""

    role: str
    name: str
    kind: str
    url: str
    key: str | None
    timeout_s: float
    collection: str
    duration_s: float
    report: str
    clients: int = 1
    readers: int = 0
    rate_per_s: float = 0.0
    seed: int = 1
    dimension: int = 16
    batch: int = 4
    most_rows: int = 0

    @property
    def where(self) -> Address:
        """The database."""
        return address(self.kind, self.url, self.timeout_s, {} if self.key is None else {"key": self.key})

    def to_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Order":
        """Read the line."""
        return cls(**json.loads(line))


_BOUNDS: dict[str, tuple[float, float]] = {
    "duration_s": (0.001, LONGEST_S),
    "rate_per_s": (0, _MOST_RATE),
    "clients": (1, _MOST_CLIENTS),
    "readers": (0, _MOST_CLIENTS),
    "batch": (1, 5000),
    "dimension": (2, 16000),
    "most_rows": (1, 1_000_000),
    "seed": (0, 1 << 31),
}
_FRACTIONS = ("duration_s", "rate_per_s")


def bounded(name: str, value: object) -> float:
    """Check one value that bounds a client process: how long, how many, how fast, how much."""
    least, most = _BOUNDS[name]
    kind = (int, float) if name in _FRACTIONS else int
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
        word = "number" if name in _FRACTIONS else "whole number"
        raise BadArgument(f"{name} must be a {word} from {least:g} to {most:g}, not {value!r}.")
    return value


def whole(name: str, value: object) -> int:
    """Check one value that is a whole number."""
    return int(bounded(name, value))


def checked_name(name: object) -> str:
    """Check the name of a client process: it becomes a part of file and collection names."""
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or len(name) > _LONGEST_NAME:
        raise BadArgument(f"name must be letters, digits and underscores, at most {_LONGEST_NAME}, not {name!r}.")
    return name
