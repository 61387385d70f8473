# SPDX-License-Identifier: Apache-2.0
"""Real databases, one of each kind for all tests of a process."""

from collections.abc import Callable, Iterator

import pytest

from chaosgpu.lab.databases import Database, prepared
from chaosgpu.vectordb.backends.contract import Backend
from support.qdrant_contract import qdrant
from support.vectors import Known, known_of, using


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Database]]:
    """Give the lab's database of a kind; it is started once, and again where a test left it killed."""
    made: dict[str, Database] = {}

    def of(kind: str) -> Database:
        if kind not in made:
            made[kind] = prepared(kind, tmp_path_factory.mktemp(kind), lambda _line: None)
        if made[kind].process is None:
            made[kind].start()
        return made[kind]

    yield of
    for one in made.values():
        one.stop()


@pytest.fixture(scope="session")
def contract_server() -> Iterator[str]:
    with qdrant() as url:
        yield url


@pytest.fixture(params=["chroma", "pgvector", "qdrant"])
def known(request: pytest.FixtureRequest) -> Known:
    """Give an address of each kind in turn; milvus takes too long to start and is in `long`."""
    if request.param == "qdrant":
        return Known("qdrant", request.getfixturevalue("contract_server"), None)
    return known_of(request.getfixturevalue("database")(request.param))


@pytest.fixture
def backend(known: Known) -> Iterator[Backend]:
    with using(known) as one:
        yield one
