# SPDX-License-Identifier: Apache-2.0
"""The lab's vector databases, each as its makers ship it: how one is laid out, started, asked whether it is there."""

import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM

from chaosgpu.errors import LabFailed

__all__ = ["ENGINES", "Engine", "Place"]

_ASK_S = 1.0
_LAY_OUT_S = 60.0
# The number of the user that a root process is inside a user namespace: PostgreSQL does not run as root.
_UNPRIVILEGED = 1000


@dataclass(frozen=True)
class Place:
    """Where one database lives: its folder (data below it), its loopback port, its programs, its password."""

    folder: Path
    port: int
    packages: Path
    key: str

    @property
    def data(self) -> Path:
        """The database's own files."""
        return self.folder / "data"


@dataclass(frozen=True)
class Engine:
    """One kind of database. `as_user`: what its process does before exec, where it must not be root."""

    name: str
    url: Callable[[Place], str]
    lay_out: Callable[[Place], None]
    command: Callable[[Place], list[str]]
    answers: Callable[[Place], bool]
    end_signal: int
    as_user: Callable[[], None] | None = None
    has_key: bool = False

    def environment(self, place: Place) -> dict[str, str]:
        """Return the whole environment of its process."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(place.folder),
            "TMPDIR": str(place.folder),
            "PYTHONPATH": str(place.packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }


def new_key() -> str:
    """Make a password."""
    return secrets.token_hex(12)


def _http_url(place: Place) -> str:
    return f"http://127.0.0.1:{place.port}"


def _listens(place: Place) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", place.port), timeout=_ASK_S):
        return True
    return False


def _make_data(place: Place) -> None:
    place.data.mkdir(mode=0o700, exist_ok=True)


# --- Chroma ---------------------------------------------------------------------------------------------------------
# The `chroma` command is this call and a check for updates.
_CHROMA = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"


def _chroma(place: Place) -> list[str]:
    where = ["--path", str(place.data), "--host", "127.0.0.1", "--port", str(place.port)]
    return [sys.executable, "-c", _CHROMA, "run", *where]


def _chroma_answers(place: Place) -> bool:
    heartbeat = f"{_http_url(place)}/api/v2/heartbeat"
    # Not through a proxy that the environment may name: it is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError), direct.open(heartbeat, timeout=_ASK_S) as answer:
        return bool(answer.status == 200)  # noqa: PLR2004 (HTTP's OK)
    return False


# --- Milvus Lite ----------------------------------------------------------------------------------------------------
def _milvus(place: Place) -> list[str]:
    where = ["--data-dir", str(place.data), "--host", "127.0.0.1", "--port", str(place.port)]
    return [sys.executable, "-m", "milvus_lite", "server", *where]


# --- PostgreSQL with pgvector ---------------------------------------------------------------------------------------
def _program(place: Place, name: str) -> str:
    return str(place.packages / "pgserver" / "pginstall" / "bin" / name)


def _not_root() -> None:
    """Become an ordinary user in a user namespace of its own; files stay those of the lab's user outside."""
    if os.geteuid() != 0:
        return
    os.unshare(os.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{_UNPRIVILEGED} 0 1"), ("gid_map", f"{_UNPRIVILEGED} 0 1")):
        Path(f"/proc/self/{name}").write_text(text)


def _postgres_data(place: Place) -> None:
    if (place.data / "PG_VERSION").exists():
        return
    key = place.folder / "key"
    key.touch(mode=0o600)
    key.write_text(place.key)
    command = [_program(place, "initdb"), "-D", str(place.data), "-U", "lab", "-A", "scram-sha-256",
               "--pwfile", str(key), "--no-sync", "-E", "UTF8", "--no-locale"]  # fmt: skip
    _run_once(place, command, "initdb")
    # Its one extension, made without a client: the server's own single-user mode.
    single = [_program(place, "postgres"), "--single", "-D", str(place.data), "postgres"]
    _run_once(place, single, "making the extension", "create extension if not exists vector\n")


def _run_once(place: Place, command: list[str], what: str, said: str = "") -> None:
    try:
        done = subprocess.run(
            command,
            input=said,
            capture_output=True,
            text=True,
            timeout=_LAY_OUT_S,
            check=False,
            env=ENGINES["pgvector"].environment(place),
            preexec_fn=_not_root,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LabFailed(
            f"The lab's PostgreSQL could not be laid out ({what}): {error}. It does not run as root, and root needs "
            "user namespaces to start it; run the lab as another user."
        ) from error
    if done.returncode != 0:
        raise LabFailed(f"The lab's PostgreSQL could not be laid out ({what}): {done.stderr.strip()[-400:]}")


def _postgres(place: Place) -> list[str]:
    settings = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1", "port": str(place.port),
                "shared_buffers": "16MB", "max_connections": "40"}  # fmt: skip
    given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return [_program(place, "postgres"), "-D", str(place.data), *given]


def _postgres_answers(place: Place) -> bool:
    asked = [_program(place, "pg_isready"), "-h", "127.0.0.1", "-p", str(place.port), "-t", "1"]
    return subprocess.run(asked, capture_output=True, timeout=10, check=False).returncode == 0


def _postgres_url(place: Place) -> str:
    return f"postgresql://lab@127.0.0.1:{place.port}/postgres"


ENGINES = {
    one.name: one
    for one in (
        Engine("chroma", _http_url, _make_data, _chroma, _chroma_answers, SIGTERM),
        Engine("milvus", _http_url, _make_data, _milvus, _listens, SIGINT),
        Engine(
            "pgvector", _postgres_url, _postgres_data, _postgres, _postgres_answers, SIGINT, _not_root, has_key=True
        ),
    )
}
