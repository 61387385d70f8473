# SPDX-License-Identifier: Apache-2.0
"""What a run has put into a database of a user's, as deeds of the run: taken out again whatever the ending.

They are no leases of a host (docs/adr/0013): they act over the network on collections of ours, with the user's key. The
run's guard puts them back; a client process ends by itself when the run is gone, and what it wrote then stays, in
collections that begin with chaosgpu_, until `chaosgpu recover` or the next one of the same name.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chaosgpu.errors import ChaosGpuError, NotRestored
from chaosgpu.lease.deeds import Settled
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.connect import connected
from chaosgpu.vectordb.backends.contract import NoCollection

if TYPE_CHECKING:
    from chaosgpu.vectordb.clients import Client

__all__ = ["BAD_VECTORS", "CLIENT", "ClientDeed", "RowsDeed"]

logger = logging.getLogger("chaostoolkit")

# What the ledger calls them, before they are done.
CLIENT, BAD_VECTORS = "vectordb.client", "vectordb.bad_vectors"
_REMOVE_S = 120.0


class _Removal:
    """One thing to take out; again is harmless."""

    # Before anything of a host's lifecycle; after the leases, whose end brings a database back that is down.
    rank = 50

    def __init__(self, what: str, remove: Callable[[], None]) -> None:
        self._what, self._remove = what, remove
        self._there = True
        self._why: str | None = None

    def take_out(self) -> None:
        if not self._there:
            return
        try:
            self._remove()
        except ChaosGpuError as error:
            self._why = str(error)
            logger.warning("%s was not removed: %s", self._what, error)
        else:
            self._there, self._why = False, None

    def left(self) -> tuple[str, ...]:
        return () if self._why is None else (f"{self._what} is still there: {self._why}",)


class ClientDeed(_Removal):
    """A client process, and the collection that it writes to, where it has one of its own."""

    # A hypothesis after the method audits the collection, and a person may look at it until the run is over.
    with_rollbacks = False

    def __init__(self, where: Address, collection: str | None) -> None:
        """Remember the collection; the client is set once it runs."""
        self.client: Client | None = None
        # The time of a client's request is part of its test; a database that is still busy with it takes longer.
        patient = replace(where, within_s=max(where.within_s, _REMOVE_S))

        def remove() -> None:
            if collection is not None:
                with connected(patient) as backend:
                    backend.drop(collection)

        super().__init__(f"the collection {collection} at {where.url}", remove)

    def put_back(self, by: str) -> None:
        """End the client, then remove its collection."""
        del by
        if self.client is not None:
            self.client.stop()
        self.take_out()

    def settled(self) -> Settled:
        """Say what came of it: a client that ended before its time proves nothing."""
        left = self.left()
        unproved: tuple[str, ...] = ()
        if self.client is not None and not self.client.going and self.client.report() is None:
            log = self.client.order.report.replace(".json", ".log")
            unproved = (f"the client {self.client.order.name} did not come to its end; see {log}",)
        load = self.client is not None and self.client.order.role != "write"  # writing with a history breaks nothing
        done = (f"vectordb.{self.client.order.role}",) if load and self.client is not None else ()
        return Settled(not_restored=left, unfinished=left, unproved=unproved, done=done)


class RowsDeed(_Removal):
    """Rows that were put into a collection of ours and do not belong there."""

    with_rollbacks = True

    def __init__(self, where: Address, collection: str, rows: Sequence[int]) -> None:
        """Remember which."""

        def remove() -> None:
            with connected(where) as backend:
                try:
                    backend.delete(collection, rows)
                    left = backend.get(collection, rows)
                except NoCollection:
                    return
            if left:
                raise NotRestored(f"{len(left)} of {len(rows)} rows were deleted and are still there.")

        super().__init__(f"{len(rows)} bad vectors in {collection} at {where.url}", remove)

    def put_back(self, by: str) -> None:
        """Delete them and see that they are gone."""
        del by
        self.take_out()

    def settled(self) -> Settled:
        """Say what came of it."""
        left = self.left()
        return Settled(not_restored=left, unfinished=left, done=("vectordb.bad_vectors",))
