# SPDX-License-Identifier: Apache-2.0
"""Real vector databases as units of a test host, each as a user of its own: Chroma, PostgreSQL with pgvector, Milvus.

Their packages and this machine's Python are shown to the hosts read-only at the same place: the bench gets `shown()`.
"""

import sys
import sysconfig
from dataclasses import dataclass

from bench.cuda_units import sh
from bench.hosts import Host
from bench.units import put
from bench.waiting import wait_until
from chaosgpu.lab.packages import packages
from support.vectors import Known, using

__all__ = ["KINDS", "VectorUnit", "serve", "shown"]

KINDS = ("chroma", "pgvector", "milvus")
_USER = "vectors"
_PORTS = {"chroma": 18000, "pgvector": 18001, "milvus": 18002}
_UP_WITHIN_S = 60
# The `chroma` command is this call and a check for updates.
_CHROMA = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(sys.argv)"
_POSTGRES = "/opt/pgvector"
# Milvus takes a few modules from the environment of whoever starts it.
_MODULES = sysconfig.get_path("purelib")
_SERVICE = """\
User={user}
WorkingDirectory={data}
Environment=HOME={data} TMPDIR={data} PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
ExecStart={command}
KillSignal={signal}
TimeoutStopSec=15
"""


def shown() -> tuple[str, ...]:
    """Return the folders of this machine that the hosts need."""
    return (sys.base_prefix, _MODULES, *(str(packages(kind, lambda _line: None)) for kind in KINDS))


@dataclass(frozen=True)
class VectorUnit:
    """One database on one host: its unit, its data, and how it is asked from outside."""

    host: Host
    kind: str

    @property
    def unit(self) -> str:
        return f"{'postgresql' if self.kind == 'pgvector' else self.kind}.service"

    @property
    def data(self) -> str:
        return f"/var/lib/{self.kind}"

    @property
    def known(self) -> Known:
        where = f"{self.host.address}:{_PORTS[self.kind]}"
        if self.kind == "pgvector":
            return Known(self.kind, f"postgresql://{_USER}@{where}/postgres", "not asked for")
        return Known(self.kind, f"http://{where}", None)

    def answers(self) -> bool:
        """Tell whether its health check does."""
        try:
            with using(self.known, 2.0) as backend:
                return backend.healthy()
        except Exception:  # noqa: BLE001 (whatever it is, it is no answer)
            return False

    def wait(self) -> None:
        """Wait until it answers, from inside the bench's network."""
        wait_until(self.answers, _UP_WITHIN_S)

    def index_files(self, relation: str = "") -> list[str]:
        """Return the files of its index: Chroma's segments, a relation of PostgreSQL, whatever Milvus has written."""
        if self.kind == "pgvector":
            return [f"{self.data}/{relation}"]
        which = "-path '*-*-*-*/*'" if self.kind == "chroma" else "-name '*index*' -o -name '*.parquet'"
        return sorted(sh(self.host, f"find {self.data} -type f \\( {which} \\)").split())

    def words(self) -> str:
        """Return the end of what it said."""
        return sh(self.host, f"journalctl -q -o cat -u {self.unit} -n 12 | cut -c -300")


def serve(host: Host, kind: str) -> VectorUnit:
    """Lay a database out on the host and start it."""
    one = VectorUnit(host, kind)
    sh(host, f"chmod 711 /root; id {_USER} >/dev/null 2>&1 || useradd --system {_USER}; "
             f"install -d -o {_USER} -g {_USER} -m 700 {one.data}")  # fmt: skip
    command, signal = _COMMANDS[kind](one)
    paths = f"{packages(kind, lambda _line: None)}:{_MODULES}"
    put(host, one.unit, _SERVICE.format(user=_USER, data=one.data, paths=paths, command=command, signal=signal))
    one.wait()
    return one


def _python() -> str:
    return f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def _chroma(one: VectorUnit) -> tuple[str, str]:
    one.host.run(["sh", "-c", "cat > /opt/chroma.py"], _CHROMA, check=True)
    return f"{_python()} /opt/chroma.py run --path {one.data} --host 0.0.0.0 --port {_PORTS[one.kind]}", "SIGTERM"


def _milvus(one: VectorUnit) -> tuple[str, str]:
    return f"{_python()} -m milvus_lite server --data-dir {one.data} --host 0.0.0.0 --port {_PORTS[one.kind]}", "SIGINT"


def _postgres(one: VectorUnit) -> tuple[str, str]:
    become = f"runuser -u {_USER} --"
    sh(one.host, f"mkdir -p {_POSTGRES}; cp -a {packages('pgvector', lambda _line: None)}/. {_POSTGRES}; "
                 f"chmod -R go+rX {_POSTGRES}")  # fmt: skip
    programs = f"{_POSTGRES}/pgserver/pginstall/bin"
    sh(one.host, f"{become} {programs}/initdb -D {one.data} -U {_USER} -A trust --no-sync -E UTF8 --no-locale; "
                 f"echo 'host all all 0.0.0.0/0 trust' >> {one.data}/pg_hba.conf; echo 'create extension vector' | "
                 f"{become} {programs}/postgres --single -D {one.data} postgres")  # fmt: skip
    given = "-c listen_addresses=* -c unix_socket_directories= -c shared_buffers=16MB"
    return f"{programs}/postgres -D {one.data} -p {_PORTS[one.kind]} {given}", "SIGINT"


_COMMANDS = {"chroma": _chroma, "milvus": _milvus, "pgvector": _postgres}
