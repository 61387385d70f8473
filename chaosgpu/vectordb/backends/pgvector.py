# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL with pgvector over SQL: one table a collection, `id bigint primary key, embedding vector(n)`.

The client is pg8000: pure Python, and its socket is ours, so that a frozen server costs a deadline and not the run.
(libpq, and psycopg over it, wait for a server that accepts and never answers.)
"""

import json
import os
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from chaosgpu.errors import AnswerWrong, BadArgument, NotReached, Refused, Unreachable
from chaosgpu.vectordb.backends.address import Address
from chaosgpu.vectordb.backends.contract import Hit, NoCollection, NotTaken, Row, TooSlow, Vector, collection_name

if TYPE_CHECKING:
    from pg8000.native import Connection

__all__ = ["Pgvector"]

_NO_TABLE = "42P01"
_NO_RIGHT = ("28", "42501")
# What is in the request is wrong, or there is no room for it: the statement was rolled back as a whole.
_NOT_DONE = ("22", "23", "25", "42", "53", "54", "57014")
_UPSERT = (
    "insert into {table} (id, embedding) select i, cast(v as vector) "
    "from unnest(cast(:ids as bigint[]), cast(:vectors as text[])) as given(i, v) "
    "on conflict (id) do update set embedding = excluded.embedding"
)


class Pgvector:
    """One database of a PostgreSQL server, over one connection that is made again after it broke."""

    name = "pgvector"

    def __init__(self, where: Address) -> None:
        """Remember where; nothing is sent yet."""
        self._where = where
        self._connection: Connection | None = None

    def healthy(self) -> bool:
        """Ask as `select 1` does."""
        return self._run("select 1", "") == [[1]]

    def version(self) -> str:
        """Return the versions of both."""
        rows = self._run("select current_setting('server_version'), extversion from pg_extension "
                         "where extname = 'vector'", "")  # fmt: skip
        if not rows:
            raise BadArgument(f"{self._where.url} has no extension vector; run: create extension vector.")
        return f"PostgreSQL {rows[0][0]}, pgvector {rows[0][1]}"

    def count(self, collection: str) -> int:
        """Return what the planner's statistics would not: the counted rows."""
        rows = self._run(f"select count(*) from {_table(collection)}", collection)  # noqa: S608 (a checked name)
        return int(str(rows[0][0]))

    def create(self, collection: str, dimension: int) -> None:
        """Make the table and its HNSW index."""
        table = _table(collection)
        self._run(f"create table {table} (id bigint primary key, embedding vector({int(dimension)}))", collection)
        self._run(f"create index on {table} using hnsw (embedding vector_l2_ops)", collection)

    def drop(self, collection: str) -> None:
        """Remove the table and its index."""
        self._run(f"drop table if exists {_table(collection)}", collection)

    def open(self, collection: str) -> None:
        """Nothing is needed: PostgreSQL recovers before it answers."""

    def put(self, collection: str, rows: Sequence[Row]) -> None:
        """Upsert in one statement: all of them, or none."""
        self._run(
            _UPSERT.format(table=_table(collection)),
            collection,
            ids=[row.id for row in rows],
            vectors=[_text(row.vector) for row in rows],
        )

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete by id."""
        sql = f"delete from {_table(collection)} where id = any(cast(:ids as bigint[]))"  # noqa: S608
        self._run(sql, collection, ids=list(ids))

    def get(self, collection: str, ids: Sequence[int]) -> list[Row]:
        """Fetch by id."""
        sql = f"select id, cast(embedding as text) from {_table(collection)} where id = any(cast(:ids as bigint[]))"  # noqa: S608
        rows = self._run(sql, collection, ids=list(ids))
        return [Row(int(str(one[0])), tuple(float(x) for x in json.loads(str(one[1])))) for one in rows]

    def search(self, collection: str, vector: Vector, k: int) -> list[Hit]:
        """Search through the index: scans of the whole table are off in this session."""
        sql = (
            f"select id, embedding <-> cast(:q as vector) as far from {_table(collection)} "  # noqa: S608
            "order by embedding <-> cast(:q as vector) limit :k"
        )
        rows = self._run(sql, collection, q=_text(vector), k=k)
        return [Hit(int(str(one[0])), float(str(one[1]))) for one in rows]

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection = self._connection, None
        if connection is not None:
            from pg8000.exceptions import InterfaceError  # noqa: PLC0415 (an extra)

            with suppress(InterfaceError, OSError):  # it is gone either way
                connection.close()

    def _connected(self) -> "Connection":
        from pg8000.exceptions import DatabaseError, InterfaceError  # noqa: PLC0415
        from pg8000.native import Connection  # noqa: PLC0415

        if self._connection is not None:
            return self._connection
        parts, within_s = self._where.parts, self._where.within_s
        host, port = parts.hostname or "localhost", parts.port or 5432
        what = f"Connecting to {self._where.url}"
        try:
            link = socket.create_connection((host, port), within_s)
        except OSError as error:
            raise NotReached(f"{what}: {error}; is the database running?") from error
        try:
            made = Connection(
                unquote(parts.username or "postgres"),
                host=host,
                sock=link,
                database=unquote(parts.path.strip("/")) or None,
                password=self._where.key,
                application_name="chaosgpu",
                # False: no TLS is asked for; None would take any certificate.
                ssl_context=ssl.create_default_context() if self._where.tls else False,
            )
            made.run(f"set statement_timeout = {max(1, int(within_s * 1000))}")
            made.run("set enable_seqscan = off")
        except ssl.SSLError as error:
            _let_go(link)
            raise NotReached(f"{what}: no trusted TLS connection: {error}.") from error
        except DatabaseError as error:
            _let_go(link)
            raise self._explained(what, error, "") from error
        except TimeoutError as error:
            _let_go(link)
            raise NotReached(f"{what}: it accepts and does not answer within {within_s:g} s.") from error
        except (InterfaceError, OSError) as error:
            _let_go(link)
            raise NotReached(f"{what}: {_cause(error)}.") from error
        self._connection = made
        return made

    def _run(self, sql: str, collection: str, **values: object) -> list[list[object]]:
        from pg8000.exceptions import DatabaseError, InterfaceError  # noqa: PLC0415

        connection = self._connected()
        what = f"PostgreSQL at {self._where.url}"
        try:
            rows = connection.run(sql, **values)
        except DatabaseError as error:
            raise self._explained(what, error, collection) from error
        except TimeoutError as error:
            self.close_hard()
            raise TooSlow(f"{what}: no whole answer within {self._where.within_s:g} s.") from error
        except (InterfaceError, OSError) as error:
            self.close_hard()
            if isinstance(error.__cause__, TimeoutError):
                raise TooSlow(f"{what}: no whole answer within {self._where.within_s:g} s.") from error
            raise Unreachable(f"{what}: the connection broke off: {_cause(error)}; see its log.") from error
        return rows or []

    def close_hard(self) -> None:
        """Let go of a broken connection without saying goodbye: the server may be frozen."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _let_go(connection._usock)  # noqa: SLF001 (close() would wait for the server)

    def _explained(self, what: str, error: Exception, collection: str) -> Exception:
        said = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        code, words = str(said.get("C", "")), str(said.get("M", error))
        sentence = f"{what}{f', collection {collection}' if collection else ''}: {code} {words}"
        if code == _NO_TABLE:
            return NoCollection(f"{sentence}. Is the name right? Ours are made with learn_canary.")
        if code.startswith(_NO_RIGHT):
            return Refused(f"{sentence}. It did not take the user or the key; give the right one as the secret `key`.")
        if code.startswith(_NOT_DONE):
            return NotTaken(f"{sentence}.")
        # 57P01 to 57P03, 58…, XX…: the server is going, coming or ill; a statement may have been done before that.
        self.close_hard()
        return Unreachable(f"{sentence}.") if code.startswith("57") else AnswerWrong(f"{sentence}.")


def _let_go(link: socket.socket) -> None:
    """Close the connection itself: pg8000's file over it would hold it open until it is collected."""
    with suppress(OSError):
        os.close(link.detach())


def _table(collection: str) -> str:
    return f'"{collection_name(collection)}"'


def _text(vector: Vector) -> str:
    return f"[{','.join(map(repr, vector))}]"


def _cause(error: BaseException) -> str:
    return str(error.__cause__ or error) or type(error).__name__
