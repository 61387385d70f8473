# SPDX-License-Identifier: Apache-2.0
"""Bundles of runs that the real `chaos run` has played, in a drill and alone."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

from chaosgpu.cli.main import main
from chaosgpu.evidence import register
from chaosgpu.evidence.bundle import load_bundle
from support.chaos import Chaos, Played, experiment, python
from support.evidence_world import OPERATOR, SIGNER, World

SECRET = "hunter2-and-more"  # noqa: S105 (a canary)


def _export(world: World, run: Path, out: Path, *options: str) -> int:
    signing = ["--key", str(world.keys[SIGNER]), "--identity", SIGNER, "--site", str(world.site)]
    return main(["evidence", "export", str(run), "--out", str(out), *signing, *options])


def _verify(world: World, bundle: Path, *options: str) -> int:
    return main(["evidence", "verify", str(bundle), "--allowed-signers", str(world.allowed), *options])


def _played(folder: Path, *options: str) -> Played:
    secrets = {"db": {"password": {"type": "env", "key": "DB_PASSWORD"}}}
    method = [python("break it", "break_it"), python("say it", "says", value=f"the answer has {SECRET} in it")]
    return Chaos(folder, experiment(method, secrets=secrets), *options, DB_PASSWORD=SECRET).finish(timeout_s=100)


def test_a_drill_that_was_really_played_is_verified_with_its_plan_from_the_drills_folder(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    plan, statement = world.plan("leak")
    digest = world.approve("leak")
    register.started(world.log, "leak", "leak-1", digest, operator=OPERATOR)
    played = _played(tmp_path)
    assert played.verdict[0] == "passed"
    drill = tmp_path / "drill"
    run = Path(shutil.copytree(played.run, drill / "runs" / played.run.name))
    (drill / "plan" / "approvals").mkdir(parents=True)
    (drill / "plan" / "plan.yaml").write_bytes(plan)
    (drill / "plan" / "statement.json").write_bytes(statement)
    kept = world.site / "kept"
    for path in kept.iterdir():
        if path.read_bytes().startswith(b"-----BEGIN SSH SIGNATURE"):
            shutil.copy(path, drill / "plan" / "approvals" / "anna.sig")
    shutil.rmtree(kept)
    register.finished(world.log, "leak", "leak-1", run)
    assert _export(world, run, tmp_path / "bundle", "--secrets", str(_file(tmp_path, SECRET))) == 0
    assert _verify(world, tmp_path / "bundle") == 0
    files, _ = load_bundle(tmp_path / "bundle")
    assert sha256(files["plan/plan.yaml"]).hexdigest() == digest
    assert not any(SECRET.encode() in content for content in files.values())
    assert json.loads(files["leases.json"])["leases"][0]["state"] == "clean"


def test_a_rehearsal_has_no_verdict_anywhere(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    played = _played(tmp_path, "--dry", "actions")
    assert _export(world, played.run, tmp_path / "bundle") == 0
    assert _verify(world, tmp_path / "bundle", "--unlogged") == 0
    files, _ = load_bundle(tmp_path / "bundle")
    assert json.loads(files["summary.json"])["verdict"] == "none"
    assert json.loads(files["statement.json"])["predicate"]["result"] == "WARNED"


def _file(folder: Path, content: str) -> Path:
    path = folder / "secrets"
    path.write_text(f"{content}\n")
    return path
