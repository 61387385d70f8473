# SPDX-License-Identifier: Apache-2.0
"""A run that the drill room has played is exported with its plan and approvals, without being told where they are."""

import os
import subprocess
from pathlib import Path

import pytest

import chaosgpu.evidence
from chaosgpu.drill import claims
from chaosgpu.drill.course import run_drill
from chaosgpu.evidence.bundle import build, signed
from chaosgpu.evidence.kept import approved_for
from chaosgpu.evidence.keygen import sign, ssh_checker
from chaosgpu.evidence.log import read_raw
from chaosgpu.evidence.log_rules import read_log
from chaosgpu.evidence.sums import NAMESPACE, SUMS
from chaosgpu.evidence.verify import Trust, verify
from support.drills import People, World
from support.evidence_world import SIGNER, lay, make_key, public_of

SCRIPT = Path(chaosgpu.evidence.__file__).parent / "data" / "verify.sh"


def test_a_drill_is_exported_with_the_plan_and_the_approvals_that_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not the machine's own claims: the tests of drills hold them at the same time.
    monkeypatch.setattr(claims, "_PREFIX", f"\0chaosgpu-evidence-test-{os.getpid()}-")
    world = World(tmp_path, People(tmp_path, ("alice@lab", "bob@lab")))
    ended = run_drill(world.plan("bob@lab"), world.means())
    (world.folder / "plan.yaml").write_text("another plan of the next day")
    key = make_key(tmp_path / "drills", SIGNER)
    with world.people.allowed_signers.open("a") as file:
        file.write(f'{SIGNER} namespaces="{NAMESPACE}" {public_of(key)}\n')
    [run] = (world.site.path(world.site.drills) / ended.folder / "runs").glob("run-*")
    lines, torn = read_raw(world.record.directory)
    approved = approved_for(world.record.directory, read_log(lines, torn), run, None)
    assert approved is not None
    log = b"".join(line + b"\n" for line in lines)
    files = build(run, log, (), SIGNER, approved)
    files = signed(files, sign(files[SUMS], key, NAMESPACE))
    found = verify(files, Trust(ssh_checker(world.people.allowed_signers), SIGNER))
    assert found.problems == ()
    # The player of this test writes a ledger and nothing else.
    assert [sentence.partition(" ")[0] for sentence in found.missing] == [
        "experiment.json",
        "journal.json",
        "localhost",
    ]
    assert b"bob@lab" in files["report.html"]
    command = [
        "sh",
        str(SCRIPT),
        "-f",
        str(world.people.allowed_signers),
        "-i",
        SIGNER,
        str(lay(files, tmp_path / "b")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "PROBLEM" in done.stdout) == (4, False), done.stdout
