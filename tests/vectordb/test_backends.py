# SPDX-License-Identifier: Apache-2.0
"""Each backend against its database: Chroma and pgvector real, Qdrant as its published description has it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, ChaosGpuError, NotReached, Refused, Unreachable
from chaosgpu.lab.databases import Database
from chaosgpu.vectordb.backends.address import address
from chaosgpu.vectordb.backends.contract import Backend, NotTaken, Row, own_collection
from support import vectors
from support.qdrant_contract import qdrant
from support.tls import tls_in_front
from support.vectors import Known, emptied, known_of, using
from unit.triton.services import closed_port, drips, raw

_NAN = float("nan")


def ask(known: Known) -> bool:
    """Ask the health check over a connection of its own."""
    with using(known) as one:
        return one.healthy()


def test_it_keeps_what_it_is_given(backend: Backend) -> None:
    vectors.keeps_what_it_is_given(backend)


def test_a_wrong_dimension_is_refused_and_nothing_is_stored(backend: Backend) -> None:
    vectors.refuses_a_wrong_dimension(backend)


def test_a_missing_collection_is_one_sentence(backend: Backend) -> None:
    vectors.a_missing_collection_is_one_sentence(backend)


@pytest.mark.parametrize("bad", [_NAN, float("inf")])
def test_what_is_no_number_is_refused(backend: Backend, bad: float) -> None:
    with emptied(backend) as collection, pytest.raises(NotTaken):
        backend.put(collection, [Row(1, (bad,) * 8)])


def test_it_says_who_it_is(backend: Backend) -> None:
    assert backend.healthy()
    assert any(letter.isdigit() for letter in backend.version())


@pytest.mark.parametrize("kind", ["chroma", "pgvector", "qdrant"])
def test_nobody_there_is_one_sentence_and_nothing_was_sent(kind: str) -> None:
    url = closed_port().replace("http", "postgresql" if kind == "pgvector" else "http")
    with pytest.raises(NotReached, match=r"is the database running\?$"), using(Known(kind, url, None)) as one:
        one.count("chaosgpu_test")


@pytest.mark.parametrize("kind", ["chroma", "pgvector"])
def test_a_frozen_database_costs_its_deadline_and_no_more(kind: str, database: Callable[[str], Database]) -> None:
    one = database(kind)
    with using(known_of(one), within_s=2) as connected:
        connected.healthy()
        one.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(Unreachable, match=r"within 2 s"):
                connected.healthy()
            assert time.monotonic() - began < 10
        finally:
            one.thaw()
    with using(known_of(one)) as connected:
        assert connected.healthy()


def _count_until_it_fails(backend: Backend, collection: str) -> None:
    """Ask on: a session of PostgreSQL outlives its first process by a moment, and may answer once more."""
    for _ in range(100):
        backend.count(collection)
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["chroma", "pgvector"])
def test_what_a_kill_leaves_is_there_after_the_restart(kind: str, database: Callable[[str], Database]) -> None:
    one = database(kind)
    with using(known_of(one)) as connected, emptied(connected) as collection:
        connected.put(collection, vectors.SMALL.stored[:50])
        one.kill()
        try:
            with pytest.raises(Unreachable):
                _count_until_it_fails(connected, collection)
        finally:
            one.start()
        assert connected.count(collection) == 50


def test_an_answer_that_drips_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with (
        raw(drips(head, 0.05, 100)) as url,
        using(Known("qdrant", url, None), within_s=0.4) as one,
        pytest.raises(Unreachable, match=r"within 0\.4 s"),
    ):
        one.count("chaosgpu_test")


def test_a_wrong_password_of_postgresql_is_told_and_not_shown(database: Callable[[str], Database]) -> None:
    with pytest.raises(Refused, match=r"28P01.*give the right one as the secret") as raised:
        ask(Known("pgvector", database("pgvector").url, "wrong-one"))
    assert "wrong-one" not in str(raised.value)


def test_a_wrong_key_of_qdrant_is_told() -> None:
    with qdrant(key="right") as url:
        with using(Known("qdrant", url, "right")) as one:
            assert one.version() == "1.19.0"
        with pytest.raises(Refused, match=r"401.*did not take the key"), using(Known("qdrant", url, "wrong")) as one:
            one.count("chaosgpu_test")


def test_tls_to_a_port_that_speaks_none_is_one_sentence(database: Callable[[str], Database]) -> None:
    plain = database("chroma").url
    with pytest.raises(NotReached, match=r"no trusted TLS connection.*\?$"):
        ask(Known("chroma", plain.replace("http:", "https:"), None))
    server = database("pgvector")
    with pytest.raises(NotReached, match="Server refuses SSL"):
        ask(Known("pgvector", f"{server.url}?sslmode=verify-full", server.key))


def test_a_certificate_that_nobody_signed_is_refused_until_it_is_trusted(
    database: Callable[[str], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tls_in_front(database("chroma").url, tmp_path) as (url, certificate):
        with pytest.raises(NotReached, match="certificate verify failed"):
            ask(Known("chroma", url, None))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(Known("chroma", url, None))


@pytest.mark.parametrize(
    ("kind", "url", "secrets", "sentence"),
    [
        ("weaviate", "http://h:1", {}, "backend must be one of chroma, milvus, pgvector, qdrant"),
        ("chroma", "h:1", {}, "url of a chroma database must be http://HOST:PORT"),
        ("chroma", "postgresql://h:1/d", {}, "url of a chroma database"),
        ("pgvector", "http://h:1", {}, "must be postgresql://USER@HOST:PORT/DATABASE"),
        ("pgvector", "postgresql://u:secret@h/d", {}, "without a password in it"),
        ("qdrant", "http://h:99999", {}, "url of a qdrant database"),
        ("qdrant", "http://h:1", {"key": ""}, "must be a text that is not empty"),
    ],
)
def test_an_address_is_checked_before_anything_is_sent(
    kind: str, url: str, secrets: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadArgument) as raised:
        address(kind, url, 5, secrets)
    assert sentence in str(raised.value)
    assert "secret@" not in str(raised.value)


def test_only_collections_of_ours_are_written_to() -> None:
    assert own_collection("chaosgpu_canary") == "chaosgpu_canary"
    for name in ("products", "chaosgpu-canary", "chaosgpu_'; drop table x", "", None, "x" * 64):
        with pytest.raises(BadArgument):
            own_collection(name)


def test_a_key_is_not_printed() -> None:
    assert "swordfish" not in repr(address("qdrant", "http://h:1", 5, {"key": "swordfish"}))


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed_port())  # nothing here may go through it
    monkeypatch.setenv("http_proxy", closed_port())


def test_errors_are_of_the_one_tree() -> None:
    assert issubclass(NotTaken, ChaosGpuError)
