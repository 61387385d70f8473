# SPDX-License-Identifier: Apache-2.0
"""Measure the evidence: attacks, flipped bytes, canaries, killed controllers, sizes and times."""

import contextlib
import io
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from chaosgpu.cli.main import main  # noqa: E402 (with the tree and its tests found, wherever they lie)
from chaosgpu.evidence import register  # noqa: E402
from chaosgpu.evidence.bundle import build, signed  # noqa: E402
from chaosgpu.evidence.contents import read_contents  # noqa: E402
from chaosgpu.evidence.keygen import sign, ssh_checker  # noqa: E402
from chaosgpu.evidence.missing import missing  # noqa: E402
from chaosgpu.evidence.sums import NAMESPACE, SIGNATURE, SUMS  # noqa: E402
from chaosgpu.evidence.verify import Trust, verify  # noqa: E402
from chaosgpu.fleet.redaction import forget, know  # noqa: E402
from chaosgpu.fleet.values import JsonObject  # noqa: E402, TC001 (beside the others)
from figures import Figure, at_most, exactly, publish  # noqa: E402
from support import canaries, evidence_killed  # noqa: E402
from support.chaos import UNDO_ALL, Chaos, experiment, python  # noqa: E402
from support.evidence_attacks import Attack, Handed, copy, rechain, scene  # noqa: E402
from support.evidence_flips import Oracle, flips  # noqa: E402
from support.evidence_table import MORE, THIRTY  # noqa: E402
from support.evidence_world import SIGNER, World, lay  # noqa: E402

SCRIPT = ROOT / "chaosgpu" / "evidence" / "data" / "verify.sh"
# What is signed over is flipped in one way more: the armor must not have a byte that could as well be another one.
BITS = {SUMS: (0x01, 0x20), SIGNATURE: (0x01, 0x20)}
SHELL_FLIPS = 40
REAL_KILLS = 12
LINES = 11
MANY = 10_000


def shell(allowed: Path, folders: Sequence[Path], *options: str) -> int:
    """Ask the shell verifier."""
    command = ["sh", str(SCRIPT), "-f", str(allowed), "-i", SIGNER, *options, *map(str, folders)]
    return subprocess.run(command, capture_output=True, timeout=600, check=False).returncode


def python_verify(allowed: Path, folders: Sequence[Path], *options: str) -> int:
    """Ask `chaosgpu evidence verify`."""
    command = ["evidence", "verify", "--allowed-signers", str(allowed), "--identity", SIGNER, *options]
    with contextlib.redirect_stdout(io.StringIO()):
        return main([*command, *map(str, folders)])


def attacks(folder: Path) -> list[Figure]:
    """Play the tamper table."""
    played = scene(folder / "scene")
    found = []
    for name, table in (("of the tamper table", THIRTY), ("beyond it", MORE)):
        seen = [_seen(attack, played, folder / f"{name}-{number}") for number, attack in enumerate(table)]
        can_be = sum(attack.caught for attack in table)
        found += [
            exactly(f"attacks {name} seen by verify.sh", sum(by for by, _ in seen), f"of {len(table)}", can_be),
            exactly(f"attacks {name} seen by `verify`", sum(by for _, by in seen), f"of {len(table)}", can_be),
        ]
    hidden = [attack.what for attack in THIRTY if not attack.caught]
    text = "; ".join(f"{what}: exposure is the time since the last checkpoint that was given away" for what in hidden)
    return [*found, Figure("the attack that cannot be seen", text, "", "", None)]


def _seen(attack: Attack, played: Handed, folder: Path) -> tuple[bool, bool]:
    handed = attack.do(copy(played, folder / "world"))
    folders = [lay(files, folder / name) for name, files in handed.bundles.items()]
    kept = folder / "kept"
    kept.write_bytes(handed.kept)
    allowed = handed.world.allowed
    by_shell = shell(allowed, folders, "-c", str(kept), "-a") != 0
    return by_shell, python_verify(allowed, folders, "--checkpoint", str(kept), "--complete") != 0


def every_byte(folder: Path) -> list[Figure]:
    """Flip every byte of a small bundle, and a sample for the shell."""
    world = World(folder / "flips")
    files = world.export(world.drill("small"))
    oracle = Oracle(world)
    if not oracle.accepts(files):
        raise SystemExit("the bundle that nobody has touched is not accepted: nothing can be measured")
    places = [(name, place) for name, content in sorted(files.items()) for place in range(len(content))]
    tried = accepted = 0
    for name, place in places:
        for bits in BITS.get(name, (0x01,)):
            tried += 1
            accepted += oracle.accepts({**files, name: flips(files[name], place, bits)})
    on_disk = lay(files, folder / "flipped")
    by_shell = 0
    for name, place in random.Random(5).sample(places, SHELL_FLIPS):  # noqa: S311 (a sample that is always the same)
        (on_disk / name).write_bytes(flips(files[name], place, 0x01))
        by_shell += shell(world.allowed, [on_disk]) == 0
        (on_disk / name).write_bytes(files[name])
    return [
        Figure("bytes of a small bundle, each flipped", len(places), "bytes", "", None),
        exactly(f"flipped bytes that `verify` accepts, of {tried}", accepted, "", 0),
        exactly(f"flipped bytes that verify.sh accepts, of a sample of {SHELL_FLIPS}", by_shell, "", 0),
    ]


def secrets(folder: Path) -> list[Figure]:
    """Send sixty canaries through every channel."""
    know(canaries.CANARIES)
    wrote = canaries.write_run(folder / "knowing", canaries.WHILE_WRITING)
    forget()
    in_run = canaries.found(
        {path.name: path.read_bytes() for path in (folder / "knowing").rglob("*") if path.is_file()}
    )
    told = folder / "told"
    wrote_more = canaries.write_run(told, canaries.EVERYWHERE) + canaries.write_past_us(told)
    before = canaries.found({str(path): path.read_bytes() for path in told.rglob("*") if path.is_file()})
    there = len({sentence.partition(" in ")[0] for sentence in before})
    in_bundle = canaries.found(build(told, b"", canaries.CANARIES, None, None))
    return [
        exactly("canaries that the finder finds where nothing is taken out", there, "of 60", len(canaries.CANARIES)),
        exactly(f"canaries in the run directory, written {wrote} times with the secrets known", len(in_run), "", 0),
        exactly(f"canaries in the bundle, written {wrote_more} times with no secret known", len(in_bundle), "", 0),
    ]


def killed(folder: Path) -> list[Figure]:
    """Kill a controller before each of its writes, and real ones by SIGKILL at random moments."""
    world = World(folder / "killed")
    plan = world.approve("leak")
    trust = Trust(ssh_checker(world.allowed), SIGNER)
    exact = tried = 0
    for torn in (False, True):
        for moment in range(evidence_killed.MOMENTS):
            name = f"try-{moment}-{torn}"
            register.started(world.log, "leak", name, plan)
            left = evidence_killed.play(world, name, moment, torn=torn)
            register.aborted(world.log, "leak", name, "killed", world.runs[left.run])
            found = verify(world.export(left.run), trust)
            tried += 1
            exact += not found.problems and sorted(found.missing) == sorted(left.lacks)
    return [
        exactly(
            "killed before or within each write: what is missing is said exactly",
            exact,
            f"of {tried}",
            tried,
        ),
    ]


def killed_for_real(folder: Path) -> list[Figure]:
    """Kill real runs at a random moment, and see whether verification says what is missing."""
    rng = random.Random(7)  # noqa: S311 (moments that are always the same)
    left = told = 0
    for number in range(REAL_KILLS):
        one = folder / str(number)
        one.mkdir(parents=True)
        steps = [python("break it", "break_it"), python("wait", "wait", seconds=0.4)]
        chaos = Chaos(one, experiment(steps, rollbacks=[UNDO_ALL]))
        _lines(one, chaos, 1 + number % LINES, rng.uniform(0.0, 0.1))
        chaos.process.send_signal(signal.SIGKILL)
        with contextlib.suppress(AssertionError):
            chaos.finish()
        run = (one / ".chaosgpu" / "runs" / "latest").resolve()
        left += 1
        told += _told(run)
    return [exactly("real runs, killed -9 at random: what is missing is said exactly", told, f"of {left}", left)]


def _lines(one: Path, chaos: Chaos, wanted: int, more_s: float) -> None:
    """Wait until the run has written so many lines of its ledger, and a moment longer."""
    ledger = one / ".chaosgpu" / "runs" / "latest" / "ledger.jsonl"
    end = time.monotonic() + 300
    while chaos.process.poll() is None and time.monotonic() < end:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= wanted:
            break
        time.sleep(0.01)
    time.sleep(more_s)


def _told(run: Path) -> bool:
    """Tell whether verification says of a run, as it was found, what is missing by the order of its files alone."""
    lines = [json.loads(line) for line in (run / "ledger.jsonl").read_bytes().split(b"\n")[:-1]]
    types = [line["type"] for line in lines]
    ended = {line["lease"] for line in lines if line["type"] in ("lease.clean", "lease.refused")}
    open_ones = {line["lease"] for line in lines if line["type"] == "lease.reserved"} - ended
    contents = read_contents(build(run, b"", (), None, None))
    said = " ".join(missing(contents))
    journal = (run / "journal.json").exists()
    return (
        not contents.ledger.problems
        and ("no run.finished" in said) == ("run.finished" not in types)
        and ("no run.started" in said) == ("run.started" not in types)
        and all(f"({lease}) has no end" in said for lease in open_ones)
        and said.count("has no end:") == len(open_ones)
        and ("journal.json is not there" in said) == (not journal)
        and ("no after.json" in said)
        == ("run.started" in types and not (run / "hosts" / "localhost" / "after.json").exists())
    )


def costs(folder: Path) -> list[Figure]:
    """Measure what it takes."""
    world = World(folder / "costs")
    run = world.drill("leak")
    files = world.export(run)
    bundle, long_log = lay(files, folder / "cost"), _long(world, folder / "long")
    again = world.export(run) == files
    many = f"verify.sh on a bundle with a log of {MANY} entries"
    return [
        exactly("a second export of the same run and log has the same bytes", "yes" if again else "no", "", "yes"),
        at_most("verify.sh", len(SCRIPT.read_text(encoding="utf-8").splitlines()), "lines", 80),
        Figure("the report of a run on two hosts", round(len(files["report.html"]) / 1024, 1), "KiB", "", None),
        at_most("verify.sh on one bundle", _seconds(lambda: shell(world.allowed, [bundle])), "s", 5),
        at_most("`verify` on one bundle", _seconds(lambda: python_verify(world.allowed, [bundle])), "s", 5),
        at_most(many, _seconds(lambda: shell(world.allowed, [long_log], "-u")), "s", 60),
    ]


def _long(world: World, folder: Path) -> Path:
    """Lay a bundle with a long log, written in one go: each entry alone is synced to disk."""
    entries: list[JsonObject] = []
    for number in range(MANY):
        at = f"2026-11-{2 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00.000Z"
        common: JsonObject = {"seq": 0, "prev": "", "at": at, "type": "planned"}
        entries.append({**common, "drill": f"drill-{number}", "attempt": "", "plan_sha256": "a" * 64})
    files = build(world.runs[world.run("long")], rechain(entries), (), SIGNER, None)
    return lay(signed(files, sign(files[SUMS], world.keys[SIGNER], NAMESPACE)), folder)


def _seconds(do: Callable[[], object]) -> float:
    """Return the shorter of two."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        do()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measured(part: Callable[[Path], list[Figure]]) -> list[Figure]:
    """Measure one part in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="chaosgpu-evidence-") as place:
        return part(Path(place))


if __name__ == "__main__":
    parts = (attacks, every_byte, secrets, killed, killed_for_real, costs)
    with ProcessPoolExecutor(len(parts), multiprocessing.get_context("spawn")) as pool:
        every = [figure for found in pool.map(measured, parts) for figure in found]
    sys.exit(publish("evidence", every))
