# SPDX-License-Identifier: Apache-2.0
"""Histories by hand: one line a write, each after the one before."""

from chaosgpu.vectordb.history import Asked, Ended, Header, History, Seen


class Written:
    """A history under construction; `outcome` None is a write that never ended."""

    def __init__(self) -> None:
        self.events: list[Asked | Ended] = []
        self._op = 0

    def put(self, row: int, version: int, outcome: str | None = "acknowledged") -> "Written":
        return self._add("put", row, version, outcome)

    def delete(self, row: int, outcome: str | None = "acknowledged") -> "Written":
        return self._add("delete", row, 0, outcome)

    def read(self, row: int, *seen: Seen) -> "Written":
        return self._add("get", row, 0, "acknowledged", ((row, tuple(seen)),))

    def _add(
        self, do: str, row: int, version: int, outcome: str | None, seen: tuple[tuple[int, tuple[Seen, ...]], ...] = ()
    ) -> "Written":
        self._op += 1
        self.events.append(Asked(self._op, do, ((row, version),), float(self._op)))
        if outcome is not None:
            self.events.append(Ended(self._op, outcome, self._op + 0.5, seen))
        return self

    def history(self) -> History:
        return History(Header(1, 4, "chaosgpu_test", "chroma"), tuple(self.events))
