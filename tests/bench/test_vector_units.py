# SPDX-License-Identifier: Apache-2.0
"""Real databases lose their index to a lease and have the very files back, whatever they did without them."""

import sys
from collections.abc import Iterator

import pytest

from bench.cuda_units import sh
from bench.hosts import BENCHES, Bench
from bench.plan import me
from bench.units import apply, undo
from bench.vector_units import KINDS, VectorUnit, serve, shown
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lab.packages import packages
from chaosgpu.vectordb import canary
from chaosgpu.vectordb.known_set import KnownSet
from support.vectors import using

pytestmark = pytest.mark.timeout(600)

_KNOWN = KnownSet(seed=4, rows=1500, dimension=16)
_COLLECTION = "chaosgpu_canary"
_RECALL = 0.95


@pytest.fixture(scope="module")
def vectors(machine: None) -> Iterator[Bench]:  # noqa: ARG001 (it says that the machine can)
    """Give a host that sees this machine's Python and the databases' packages."""
    sys.path.append(str(packages("milvus", lambda _line: None)))  # its client
    bench = Bench(BENCHES / f"vectors-{me().pid}")
    bench.up(1, shown=shown())
    try:
        yield bench
    finally:
        bench.down()


def _right(one: VectorUnit) -> bool:
    """Tell whether it finds the neighbours that it knows; a client of Milvus loads a collection after a start."""
    try:
        with using(one.known, 10.0) as backend:
            if one.kind == "milvus":
                backend.open(_COLLECTION)
            return canary.search_known(backend, _COLLECTION, _KNOWN).recall > _RECALL
    except ChaosGpuError:
        return False


def _relation(one: VectorUnit) -> str:
    sql = "select pg_relation_filepath(indexrelid) from pg_stat_user_indexes where indexrelname like '%embedding%'"
    with using(one.known) as backend:
        return str(backend._run(sql, "")[0][0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_without_its_index_says_that_it_is_healthy_answers_nothing_right_and_comes_back_whole(
    kind: str, vectors: Bench
) -> None:
    [host] = vectors.hosts
    with vectors.inside():
        one = serve(host, kind)
        with using(one.known, 60.0) as backend:
            canary.seed(backend, _COLLECTION, _KNOWN)
        sh(host, f"systemctl restart {one.unit}")
        one.wait()
        assert _right(one)
        files = one.index_files(_relation(one) if kind == "pgvector" else "")
        told = f"sha256sum {' '.join(files)}; stat -c '%i %n' {' '.join(files)}"
        before = sh(host, told)
        answer = apply(host, "unit.files.vanish", one.unit, files=files, folders=kind == "chroma", back_within_s=30)
        one.wait()  # its health check answers
        assert not _right(one)
        line = undo(host, answer)
        assert (line["state"], line["left_alone"]) == ("clean", []), line
        one.wait()
        assert _right(one)
        assert sh(host, told) == before
    sh(host, f"systemctl stop {one.unit}")
