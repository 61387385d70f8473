# SPDX-License-Identifier: Apache-2.0
"""Probes of a vector database: health as everyone checks it, and truth.

`backend` is chroma, milvus, pgvector or qdrant; `url` is http://HOST:PORT, for pgvector postgresql://USER@HOST:PORT/DB.
The key comes from the experiment's secrets: "secrets": {"db": {"key": {"type": "env", "key": "DB_KEY"}}} and the
provider's "secrets": ["db"]. `baseline` is the file that `learn_canary` wrote; else configuration `chaosgpu_vectors`,
else $CHAOSGPU_VECTORS. Every probe raises BadArgument for what is wrong with these, before anything is sent.
"""

from typing import Any

__all__ = [
    "audit",
    "audit_is_clean",
    "canary",
    "canary_is_right",
    "collection_count",
    "embeddings_are_valid",
    "learn_canary",
    "query_latency_ms",
    "ready_after_s",
    "recall",
    "recall_is_normal",
    "rows_are_complete",
    "server_is_healthy",
    "vectors_find_themselves",
    "writes_are_acknowledged",
]


def server_is_healthy(url: str, backend: str, timeout_s: float = 5, secrets: dict[str, Any] | None = None) -> bool:
    """Ask the database's own health check. It stays true while every answer is wrong: compare with the canary.

    {"name": "the plain health check", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "server_is_healthy",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    timeout_s: seconds for the whole answer. False where none comes, with the reason in the log.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415 (validation imports every named module)

    return work.healthy(work.Ask(url, backend, timeout_s, secrets))


def collection_count(
    url: str, backend: str, collection: str, timeout_s: float = 10, secrets: dict[str, Any] | None = None
) -> int:
    """Return how many vectors the database says that a collection has, one of yours or of ours. It is not an audit.

    {"name": "the count", "type": "probe", "provider": {"type": "python", "module": "chaosgpu.vectordb.probes",
     "func": "collection_count", "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma",
     "collection": "chaosgpu_canary"}}}

    A count says little: Chroma counts 6000 while its index is gone (docs/vectordb.md).
    Raises NoCollection (a BadArgument) where there is none, Refused for a wrong key, Unreachable.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.count(work.Ask(url, backend, timeout_s, secrets), collection)


def learn_canary(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    path: str,
    collection: str = "chaosgpu_canary",
    seed: int = 1,
    rows: int = 2000,
    dimension: int = 32,
    timeout_s: float = 30,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a canary collection of our own with known vectors, and write to a file what it is like while healthy.

    {"name": "learn the canary", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "learn_canary",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma", "path": "chroma.vectors.json"}}}

    path: the file to write. collection: its name, which must begin with chaosgpu_; one that holds these vectors is
    kept, another one of that name is replaced. seed, rows, dimension: the set. timeout_s: seconds for each request.
    Returns {"path", "collection", "rows", "recall", "alarm_below", "not_first_for_themselves", "p50_ms"}.
    Raises AnswerWrong where the new collection is not healthy, Refused, Unreachable.
    Thresholds: 50 questions x 10 neighbours; the alarm is at the baseline minus three standard errors (Agresti-Coull).
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    ask = work.Ask(url, backend, timeout_s, secrets)
    return work.learned(ask, path, collection, seed=seed, rows=rows, dimension=dimension)


def canary_is_right(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether the known vectors come back: recall, k rows each, themselves first, every stored vector as written.

    {"name": "the database answers right", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "canary_is_right",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    timeout_s: seconds for each of its about 110 requests; after one that nobody answers, no more are sent.
    False with each reason in the log; a missing collection, a wrong key and a database that does not answer are such.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.judged(work.Ask(url, backend, timeout_s, secrets, configuration), baseline).right


def canary(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the canary found, with health check and count beside it: as `canary_is_right`, with the figures.

    {"name": "what the canary says", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "canary",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Returns {"right", "why", "recall", "trials", "short", "foreign", "p50_ms", "p95_ms", "max_ms",
    "not_first_for_themselves", "stored", "health_check", "count"}; what could not be asked is absent or null.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.judged(work.Ask(url, backend, timeout_s, secrets, configuration), baseline).to_json()


def ready_after_s(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    within_s: float = 60,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> float:
    """Wait until the canary is right, after a restart for example, and return the seconds that it took.

    {"name": "it answers right again", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "ready_after_s",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma", "within_s": 30}}}

    within_s: seconds after which it is given up; one whole look is always taken. Others as `canary_is_right`.
    Raises Unreachable where it was not right by then, with the reason.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.ready_after(work.Ask(url, backend, timeout_s, secrets, configuration), baseline, within_s)


def recall(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> float:
    """Return recall@10 of 50 questions against exact search, 0 to 1.

    {"name": "recall", "type": "probe", "tolerance": {"type": "range", "range": [0.9, 1]},
     "provider": {"type": "python", "module": "chaosgpu.vectordb.probes", "func": "recall",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Raises NoCollection, Refused, AnswerWrong or Unreachable where there is no recall.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.searched(work.Ask(url, backend, timeout_s, secrets, configuration), baseline).recall


def recall_is_normal(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether recall@10 is no further below its baseline than chance explains: three standard errors.

    {"name": "recall is as it was", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "recall_is_normal",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Raises as `recall`.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    ask = work.Ask(url, backend, timeout_s, secrets, configuration)
    return work.searched(ask, baseline).recall >= ask.baseline(baseline).alarm_below


def rows_are_complete(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether every one of 50 questions gets as many rows as it asks for: a broken index gives one, or none.

    {"name": "ten rows each", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "rows_are_complete",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Raises as `recall`.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.searched(work.Ask(url, backend, timeout_s, secrets, configuration), baseline).short == 0


def vectors_find_themselves(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether 50 stored vectors, asked for by themselves, come first: one that does not is out of the index.

    {"name": "each vector finds itself", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "vectors_find_themselves",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Those that did not at the baseline do not count. Raises as `recall`.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.unfound(work.Ask(url, backend, timeout_s, secrets, configuration), baseline) == 0


def embeddings_are_valid(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 10,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether every known vector is stored once, finite, and as it was written.

    {"name": "the stored vectors are right", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "embeddings_are_valid",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    False with how many are missing, twice, not finite or changed in the log. Raises as `recall`.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.wrong_vectors(work.Ask(url, backend, timeout_s, secrets, configuration), baseline) == 0


def query_latency_ms(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    baseline: str | None = None,
    timeout_s: float = 5,
    configuration: dict[str, Any] | None = None,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return p50, p95 and the longest of 50 queries one after the other, in milliseconds, beside their recall.

    {"name": "query latency", "type": "probe",
     "tolerance": {"type": "jsonpath", "path": "$[?(@.p95_ms < 50)]"}, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "query_latency_ms",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Returns {"recall", "trials", "short", "foreign", "p50_ms", "p95_ms", "max_ms"}. Raises as `recall`.
    One client that waits for each answer: under load, take the open-loop figures of chaosgpu.traffic.
    """
    from chaosgpu.vectordb import work  # noqa: PLC0415

    return work.searched(work.Ask(url, backend, timeout_s, secrets, configuration), baseline).to_json()


def audit(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    name: str = "writing",
    history: str | None = None,
    visible_within_s: float = 0,
    timeout_s: float = 10,
    secrets: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Stop a writer, read back every row of its history, and say what the database lost, doubled or changed.

    {"name": "the audit", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "audit",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    name: as given to `start_writing` in this run; or history: a file. visible_within_s: how long after it was
    acknowledged a write may be invisible to reads during the history (a database that says so itself); final reads have
    no such time. timeout_s: seconds for each request.
    Returns {"clean", "lost", "duplicated", "resurrected", "stale", "refused", "corrupted", "during", "unread",
    "rows", "acknowledged", "failed", "unknown", "reads", "findings", "searched", "not_first_for_themselves", "count"};
    the first six count rows at the end, `during` those that a read saw so meanwhile. Clean is none of either.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415

    return acts.audited(work.Ask(url, backend, timeout_s, secrets), name, history, visible_within_s).to_json()


def audit_is_clean(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    backend: str,
    name: str = "writing",
    history: str | None = None,
    visible_within_s: float = 0,
    timeout_s: float = 10,
    secrets: dict[str, Any] | None = None,
) -> bool:
    """Tell whether every row of a history is one that its writes explain: as `audit`, each finding in the log.

    {"name": "nothing that was acknowledged is lost", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "audit_is_clean",
     "arguments": {"url": "http://127.0.0.1:8000", "backend": "chroma"}}}

    Before the method there is no history: then it is true where `name` was not started yet, and the log says so.
    """
    from chaosgpu.vectordb import acts, work  # noqa: PLC0415

    return acts.clean(work.Ask(url, backend, timeout_s, secrets), name, history, visible_within_s)


def writes_are_acknowledged(name: str = "writing", least_percent: float = 99) -> bool:
    """Stop a writer and tell whether so many of its writes were acknowledged within the time that it gave each.

    {"name": "the service can still write", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.vectordb.probes", "func": "writes_are_acknowledged", "arguments": {"least_percent": 90}}}

    name: as given to `start_writing` in this run, with `timeout_s` as the time of each write. least_percent: over 0, at
    most 100. A write that was refused or not answered in time is not acknowledged; how many were is in the log.
    Before the method there is no writer: then it is true, and the log says so. ReadingUnknown where nothing was asked.
    """
    from chaosgpu.vectordb import acts  # noqa: PLC0415

    return acts.acknowledged(name, least_percent)
