# SPDX-License-Identifier: Apache-2.0
"""Actions on a vector database as a client of it, on collections of our own. They act from the controller.

They are no leases of a host. Each is bounded, a client is a process of its own with a deadline, and the run's guard
takes out again what was put in: with the rollback `undo_all`, or at the end of the run. `backend`, `url` and the key
are as in `chaosgpu.vectordb.probes`. All raise NoGuard without the guard control, BadArgument, Refused, Unreachable.
"""

from typing import Any

__all__ = ["burst_embeddings", "drop_canary", "flood_queries", "insert_bad_vectors", "start_writing", "stop_client"]


def start_writing(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    duration_s: float,
    name: str = "writing",
    writers: int = 2,
    readers: int = 1,
    rate_per_s: float = 10,
    batch: int = 4,
    dimension: int = 16,
    seed: int = 1,
    timeout_s: float = 5,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write, overwrite, delete and read in a collection of its own while the experiment goes on, with a history.

    {"name": "writes that are kept account of", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "start_writing",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma", "duration_s": 60}}}

    duration_s: seconds, at most 3600; it ends sooner with `stop_client` or the run. name: for `audit`; the collection
    is chaosgpu_NAME. writers, readers: clients, each with a connection. rate_per_s: requests of each. batch: most rows
    of one. dimension, seed: of the vectors. timeout_s: seconds for each request.
    Returns {"name", "collection", "duration_s", "report"}; the history lies beside the report. It is load, not a fault.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415 (validation imports every named module)
    from chaosgpu.vectordb.order import Order, bounded, checked_name, whole  # noqa: PLC0415

    ask = work.Ask(url, backend, timeout_s, secrets)
    order = Order(
        role="write",
        name=checked_name(name),
        kind=ask.where.kind,
        url=url,
        key=ask.where.key,
        timeout_s=ask.where.within_s,
        collection=f"chaosgpu_{name}",
        duration_s=bounded("duration_s", duration_s),
        report="",
        clients=whole("clients", writers),
        readers=whole("readers", readers),
        rate_per_s=max(0.1, bounded("rate_per_s", rate_per_s)),
        seed=whole("seed", seed),
        dimension=whole("dimension", dimension),
        batch=whole("batch", batch),
    )
    return acts.begun(ask, order, own=True)


def flood_queries(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    duration_s: float,
    clients: int = 8,
    rate_per_s: float = 0,
    name: str = "flood",
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask the canary collection as fast as it answers, from a process of its own, until its time is over.

    {"name": "a flood of queries", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "flood_queries",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma", "duration_s": 30, "clients": 16}}}

    duration_s: seconds, at most 3600. clients: connections, at most 64. rate_per_s: of each client; 0 is no limit.
    Returns {"name", "collection", "duration_s", "report"} once a query was sent; FaultUnverified where none was.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415
    from chaosgpu.vectordb.order import Order, bounded, checked_name, whole  # noqa: PLC0415

    ask = work.Ask(url, backend, timeout_s, secrets, configuration)
    known = ask.baseline(baseline)
    order = Order(
        role="flood",
        name=checked_name(name),
        kind=ask.where.kind,
        url=url,
        key=ask.where.key,
        timeout_s=ask.where.within_s,
        collection=known.collection,
        duration_s=bounded("duration_s", duration_s),
        report="",
        clients=whole("clients", clients),
        rate_per_s=bounded("rate_per_s", rate_per_s),
        seed=known.known.seed,
        dimension=known.known.dimension,
    )
    return acts.begun(ask, order, own=False)


def burst_embeddings(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    duration_s: float,
    clients: int = 4,
    batch: int = 500,
    dimension: int = 384,
    most_rows: int = 100_000,
    name: str = "burst",
    timeout_s: float = 30,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write batches of new vectors into a collection of its own as fast as they are taken, from a process of its own.

    {"name": "a burst of embeddings", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "burst_embeddings",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma", "duration_s": 30}}}

    duration_s: seconds, at most 3600. clients: connections. batch: rows of one request. dimension: numbers of a vector.
    most_rows: no more than these, at most a million. The collection chaosgpu_NAME is removed with the run.
    Returns {"name", "collection", "duration_s", "report"} once a batch was sent; FaultUnverified where none was.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415
    from chaosgpu.vectordb.order import Order, bounded, checked_name, whole  # noqa: PLC0415

    ask = work.Ask(url, backend, timeout_s, secrets)
    order = Order(
        role="burst",
        name=checked_name(name),
        kind=ask.where.kind,
        url=url,
        key=ask.where.key,
        timeout_s=ask.where.within_s,
        collection=f"chaosgpu_{name}",
        duration_s=bounded("duration_s", duration_s),
        report="",
        clients=whole("clients", clients),
        dimension=whole("dimension", dimension),
        batch=whole("batch", batch),
        most_rows=whole("most_rows", most_rows),
    )
    return acts.begun(ask, order, own=True)


def insert_bad_vectors(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    kinds: list[str],
    baseline: str | None = None,
    timeout_s: float = 10,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Offer vectors to the canary collection that no database should take; what it takes is deleted by `undo_all`.

    {"name": "vectors that are none", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "insert_bad_vectors",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "milvus", "kinds": ["nan", "inf"]}}}

    kinds: some of nan, inf, huge (3e38, finite), wrong_dimension (one number too many), oversized (40,000 numbers).
    Returns {"collection", "offered"}; of each kind "taken", or "refused: …" or "unknown: …" with the database's words.
    A database that refuses them all has passed; the canary afterwards says what those that it took do to answers.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415

    return acts.bad_vectors(work.Ask(url, backend, timeout_s, secrets, configuration), baseline, kinds)


def stop_client(name: str) -> dict[str, Any]:
    """Stop a client process and return what it says of itself. Again is harmless.

    {"name": "no more writes", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "stop_client", "arguments": {"name": "writing"}}}

    name: as given where it was started.
    Returns {"name", "report", …}: of a writer acknowledged, failed, unknown and errors by kind, of a flood or burst
    sent, answered, rows, errors and longest_ms. Raises BadArgument for a client that was not started or left no report.
    """
    from chaosgpu.vectordb import acts  # noqa: PLC0415

    return acts.stopped(name)


def drop_canary(
    url: str,
    backend: str,
    collection: str = "chaosgpu_canary",
    timeout_s: float = 10,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Remove a canary collection for good. One that is not there is well; one whose name is not ours is refused.

    {"name": "no canary any more", "type": "action", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.actions", "func": "drop_canary",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Returns {"collection", "dropped"}.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.dropped(work.Ask(url, backend, timeout_s, secrets), collection)
