# SPDX-License-Identifier: Apache-2.0
"""Plays experiments of the catalogue with the real `chaos run`: in labs, on real databases, on systemd hosts."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from bench.cuda_units import SHARE, preload
from bench.driven import build_drivers, driven, let_go
from bench.hosts import BENCHES, Bench
from bench.nodes import balanced, learned, put_toolkits, serving, site, url
from bench.nodes import play as play_on_hosts
from bench.plan import me
from catalogue_kept import ROOT, Play, Result
from chaosgpu.agent.shim.library import provide
from chaosgpu.catalogue.finding import seen
from chaosgpu.errors import ChaosGpuError
from chaosgpu.lab.databases import Database, prepared, running_database
from chaosgpu.lab.packages import packages
from chaosgpu.lab.plan import LabPlan
from chaosgpu.lab.prepare import LabOptions
from chaosgpu.lab.run_database import Restarter
from chaosgpu.lab.up import bring_up, take_down
from chaosgpu.traffic import probes as users
from chaosgpu.triton import probes
from chaosgpu.vectordb import probes as vectors
from support.small_disk import small_disk

__all__ = ["group_of", "playing"]

_RUN_S = 420
_TRIES = 3
_LOOK_S = 0.5
_SETTLE_S = 120.0
# What the play before did has left the seconds of traffic that a hypothesis looks at, and its alerts have ended.
_FORGET_S = 30.0
_KV_SHARE = "0.16"
# A new PostgreSQL takes 40 MiB. What ext4 keeps for root is the lab's PostgreSQL's, who is root to it; a
# site names its own user. By default a site's PostgreSQL has nothing of it.
_DISK_MIB, _KEPT = 512, {"fragile": "0", "hardened": "30"}
_DISK_POLICY = {"version": 1, "permit": ["disk.fill"], "max_duration_s": 600}

Player = Callable[[Play], Result]


def group_of(play: Play) -> tuple[str, str]:
    """Say what it is played in; what is in one group is played in one lab, one database, one pair of hosts."""
    needs = play.form.declared.needs
    if needs.lab:
        return f"lab {needs.lab}", play.form.declared.service
    if play.database:
        return "disk" if needs.disk else "database", play.database
    return "hosts", "two of them"


@contextmanager
def playing(group: tuple[str, str]) -> Iterator[Player]:
    """Give what plays the experiments of one group."""
    kind, what = group
    with tempfile.TemporaryDirectory(prefix="chaosgpu-catalogue-") as name:
        folder = Path(name)
        if kind == "hosts":
            with _hosts(folder) as player:
                yield player
        elif kind == "disk":
            sys.path.extend(_client(what))
            yield lambda play: _on_a_disk(play, folder, what)
        elif kind == "database":
            sys.path.extend(_client(what))
            with running_database(what, folder / what, _say) as database:
                yield lambda play: _on_database(play, folder, database)
        else:
            with _lab(folder / "lab", kind.removeprefix("lab "), what) as plan:
                yield lambda play: _in_lab(play, folder, plan)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _chaos(
    play: Play, folder: Path, environment: dict[str, str], meanwhile: Callable[[], None] = lambda: None
) -> Result:
    """Play it in a folder of its own and read the verdict from its ledger; `meanwhile` is called twice a second."""
    place = Path(tempfile.mkdtemp(prefix=play.key, dir=folder))
    began = time.monotonic()
    words = [sys.executable, "-m", "chaostoolkit", "--no-version-check", "--settings", "none.yaml", "run"]
    with (
        (place / "said").open("w+", encoding="utf-8") as said,
        subprocess.Popen(
            [*words, str(play.file)],
            cwd=place,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as running,
    ):
        while running.poll() is None:
            if time.monotonic() - began > _RUN_S:
                running.kill()
                raise subprocess.TimeoutExpired(words, _RUN_S)
            meanwhile()
            time.sleep(_LOOK_S)
        said.seek(0)
        return _result(play, place, began, said.read())


def _result(play: Play, place: Path, began: float, said: str) -> Result:
    ledger = place / ".chaosgpu/runs/latest/ledger.jsonl"
    last = json.loads(ledger.read_text(encoding="utf-8").splitlines()[-1]) if ledger.exists() else {}
    journal = ledger.with_name("journal.json")
    found = json.loads(journal.read_text(encoding="utf-8")) if journal.exists() else {}
    result = Result(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=str(last.get("verdict", "none")),
        expected=play.form.declared.expected_verdict,
        reason=str(last.get("reason", said[-300:]))[:300],
        took_s=round(time.monotonic() - began, 1),
        sha256=play.digest,
        seen=seen(play.form.declared, found),
    )
    if not result.holds(play):
        _say(said[-6000:])
    return result


# --- labs ---


@contextmanager
def _lab(folder: Path, kind: str, variant: str) -> Iterator[LabPlan]:
    options = LabOptions(
        directory=folder,
        variant=variant,
        lifetime_s=3000,
        pipeline=kind in {"pipeline", "alerts"},
        alerts=kind == "alerts",
        gpu_work=kind == "compute",
    )
    tie, hold = os.pipe()  # the lab ends when this process does
    try:
        yield _brought_up(options, tie)
    finally:
        take_down(folder)
        os.close(tie)
        os.close(hold)


def _brought_up(options: LabOptions, tie: int) -> LabPlan:
    """Bring it up; a machine that is busy with other things gets another try."""
    for left in reversed(range(_TRIES)):
        try:
            return bring_up(options, _say, tie)
        except ChaosGpuError as error:
            if not left:
                raise
            _say(f"once more: {error}")
    raise AssertionError


def _in_lab(play: Play, folder: Path, plan: LabPlan) -> Result:
    deadline, right = time.monotonic() + _SETTLE_S, 0
    while right < _TRIES and time.monotonic() < deadline:
        found = probes.canary_is_right(plan.url, "chat", 1, golden=plan.exported["CHAOSGPU_CANARY"])
        right = right + 1 if found else 0
        time.sleep(1)
    if "CHAOSGPU_LAB_GATEWAY_URL" in plan.exported:
        time.sleep(_FORGET_S)
        while time.monotonic() < deadline + _FORGET_S and not _served(plan):
            time.sleep(1)
    return _chaos(play, folder, plan.exported)


def _served(plan: LabPlan) -> bool:
    """Tell whether the users of the pipeline have been served for some seconds."""
    try:
        return users.slo_holds({"error_percent": 5}, series=plan.exported["CHAOSGPU_LAB_TRAFFIC"], last_s=10)
    except ChaosGpuError:
        return False


# --- databases ---


def _client(kind: str) -> tuple[str, ...]:
    """Return where the client of Milvus is: an extra of 100 MB, which the lab has anyhow."""
    return (str(packages(kind, _say)),) if kind == "milvus" else ()


def _quick(database: Database, path: str, secrets: dict[str, str] | None) -> bool:
    try:
        return vectors.recall_is_normal(database.url, database.engine.name, path, timeout_s=0.5, secrets=secrets)
    except ChaosGpuError:
        return False


def _on_database(
    play: Play,
    folder: Path,
    database: Database,
    more: Mapping[str, str] = MappingProxyType({}),
    meanwhile: Callable[[], None] = lambda: None,
) -> Result:
    path = str(folder / f"{play.key}.vectors.json")
    kind = database.engine.name
    secrets = {"key": database.key} if database.key else None
    vectors.learn_canary(database.url, kind, path, rows=300, dimension=16, timeout_s=60, secrets=secrets)
    deadline, right = time.monotonic() + _SETTLE_S, 0
    while right < _TRIES and time.monotonic() < deadline:  # the work of the play before may go on behind its end
        time.sleep(1)
        right = right + 1 if _quick(database, path, secrets) else 0
    environment = {
        "VECTORDB_URL": database.url,
        "VECTORDB_BACKEND": kind,
        "VECTORDB_KEY": database.key or "no-key-needed",
        "CHAOSGPU_VECTORS": path,
        "PYTHONPATH": os.pathsep.join((str(ROOT), *_client(kind))),
        **more,
    }
    return _chaos(play, folder, environment, meanwhile)


def _on_a_disk(play: Play, folder: Path, kind: str) -> Result:
    """Play it on a database of its own, whose data lie on a small disk, looked after as a service manager would.

    In the hardened form a part of that disk is kept for the database's user. Root alone may make one.
    """
    place = Path(tempfile.mkdtemp(prefix=play.key, dir=folder))
    data, home, lab = place / "disk" / "data", place / "home", place / kind
    with ExitStack() as stack:
        stack.enter_context(small_disk(place / "disk", "ext4", _DISK_MIB, "-m", _KEPT[play.form.declared.service]))
        for made in (data, home, lab):
            made.mkdir(mode=0o700)
        (home / "policy.json").write_text(json.dumps(_DISK_POLICY), encoding="utf-8")
        (lab / "data").symlink_to(data)
        database = prepared(kind, lab, _say)
        database.start()
        stack.callback(database.stop)
        more = {"CHAOSGPU_AGENT_HOME": str(home), "VECTORDB_DATA": str(data)}
        return _on_database(play, place, database, more, Restarter(database, _say).look)


# --- hosts ---


@contextmanager
def _hosts(folder: Path) -> Iterator[Player]:
    bench = Bench(BENCHES / f"catalogue-{me().pid}")
    bench.up(2)
    try:
        yield lambda play: (_on_driven_host if play.entry.name == "driver-upgrade" else _on_hosts)(play, folder, bench)
    finally:
        bench.down()


def _on_hosts(play: Play, folder: Path, bench: Bench) -> Result:
    one, other = bench.hosts[:2]
    place = Path(tempfile.mkdtemp(prefix=play.key, dir=folder))
    mixed, judged = play.entry.name == "mixed-cuda-nodes", play.form.declared.service == "hardened"
    environment = {"NODE_ONE_URL": url(one), "NODE_OTHER_URL": url(other), "NODE_OTHER": other.name}
    with ExitStack() as stack:
        for host in (one, other):
            lines = f"Environment={SHARE}={_KV_SHARE}" if play.entry.name == "node-kv-cache-shrunk" else ""
            if mixed:
                put_toolkits(host)
                lines = site(host)
            stack.enter_context(serving(bench, host, lines))
        if play.entry.name == "node-cuda-errors":
            shims = stack.enter_context(tempfile.TemporaryDirectory(prefix="chaosgpu-shim-"))
            Path(shims).chmod(0o755)  # a service loads from it
            built = provide(shims, None)
            library = preload(other, built)
            environment |= {"CUDA_ERRORS_LIBRARY": library["path"], "CUDA_ERRORS_SHA256": library["sha256"]}
        golden = learned(bench, one, place)
        address = stack.enter_context(balanced(bench, [one, other], golden if judged else None))
        began = time.monotonic()
        environment |= {"TRITON_URL": address, "CHAOSGPU_CANARY": str(golden)}
        played = play_on_hosts(bench, place, play.file, **environment)
        return _result(play, place, began, played.said)


def _on_driven_host(play: Play, folder: Path, bench: Bench) -> Result:
    """Play what moves packages of a driver on a host that has some, guarded in the hardened form alone."""
    host, place = bench.hosts[0], Path(tempfile.mkdtemp(prefix=play.key, dir=folder))
    debs = place / "drivers"
    debs.mkdir()
    build_drivers(debs)
    with driven(host, debs):
        if play.form.declared.service == "fragile":
            let_go(host)
        with serving(bench, host):
            golden = learned(bench, host, place)
            began = time.monotonic()
            environment = {"TRITON_URL": url(host), "NODE": host.name, "CHAOSGPU_CANARY": str(golden)}
            played = play_on_hosts(bench, place, play.file, **environment)
            return _result(play, place, began, played.said)
