# SPDX-License-Identifier: Apache-2.0
"""Approvals: whose signatures count, over what, until when; ssh-keygen alone says the same."""

import datetime as dt
import json
import subprocess
from pathlib import Path

import pytest

from chaosgpu.drill.approval import (
    NAMESPACE,
    approvals_of,
    folder_of,
    for_hosts,
    sign,
    statement,
    why_not_approved,
)
from chaosgpu.drill.planfile import Written, read
from chaosgpu.errors import BadArgument, Refused
from support.drills import MONDAY, World


def _why(world: World, written: Written, needed: int = 1, operator: str = "alice", now: dt.datetime = MONDAY) -> str:
    signers = world.people.allowed_signers
    return why_not_approved(written, needed, signers, (written.plan.operator, operator), now) or ""


def test_somebody_else_approves_and_ssh_keygen_alone_says_the_same(world: World) -> None:
    written = world.plan("bob@lab")
    assert _why(world, written) == ""
    folder = folder_of(written.path)
    by_hand = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", str(world.people.allowed_signers), "-I", "bob@lab", "-n", NAMESPACE,
         "-s", str(folder / "bob@lab.sig")],
        input=(folder / "statement.json").read_bytes(), capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stderr
    assert json.loads((folder / "statement.json").read_bytes())["plan_sha256"] == written.sha256


def test_a_plan_without_an_approval_has_none(world: World) -> None:
    assert "needs 1 approvals by others than its operator and has 0. Whoever" in _why(world, world.plan())


def test_one_changed_byte_of_the_plan_takes_the_approval_away(world: World) -> None:
    written = world.plan("bob@lab")
    for changed in (written.raw + b"\n", written.raw.replace(b"A leak", b"A peak")):
        written.path.write_bytes(changed)
        assert "the signature of bob@lab does not hold for this plan" in _why(world, read(written.path))
    written.path.write_bytes(written.raw)
    assert _why(world, read(written.path)) == ""


@pytest.mark.parametrize("name", ["alice@lab", "Alice", "alice@elsewhere"])
def test_the_operator_cannot_sign(world: World, name: str) -> None:
    with pytest.raises(Refused, match="is the operator of leak: somebody else must approve it"):
        sign(world.plan(), world.people.folder / "alice@lab", name)
    assert not folder_of(world.folder / "plan.yaml").exists()


def test_a_signature_of_who_runs_it_does_not_count(world: World) -> None:
    written = world.plan("bob@lab")
    assert "bob@lab is the operator, and nobody approves what is his own" in _why(world, written, operator="bob")


def test_the_operators_key_under_another_name_does_not_count(world: World) -> None:
    written = world.plan()
    sign(written, world.people.folder / "alice@lab", "bob@lab")
    assert "does not hold for this plan" in _why(world, written)  # it is not the key of bob
    known = world.folder / "allowed"
    known.write_text(world.people.allowed_signers.read_text() + f"bob@lab {world.people.public('alice@lab')}\n")
    why = why_not_approved(written, 1, known, ("alice@lab", "root"), MONDAY)
    assert "the key of bob@lab is also that of alice@lab, the operator" in (why or "")


def test_two_approvals_are_of_two_people_with_two_keys(world: World) -> None:
    written = world.plan("bob@lab")
    assert "needs 2 approvals by others than its operator and has 1" in _why(world, written, needed=2)
    known = world.folder / "allowed"
    known.write_text(world.people.allowed_signers.read_text() + f"dave@lab {world.people.public('bob@lab')}\n")
    sign(written, world.people.folder / "bob@lab", "dave@lab")
    assert "has 1" in (why_not_approved(written, 2, known, ("alice@lab",), MONDAY) or "")
    sign(written, world.people.folder / "carol@lab", "carol@lab")
    assert _why(world, written, needed=2) == ""


def test_a_signature_for_another_purpose_or_of_another_plan_does_not_count(world: World) -> None:
    written = world.plan()
    other = world.plan("bob@lab", name="other.yaml", title="Another")
    folder = folder_of(written.path)
    folder.mkdir()
    (folder / "bob@lab.sig").write_bytes((folder_of(other.path) / "bob@lab.sig").read_bytes())
    assert "does not hold for this plan" in _why(world, written)
    evidence = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", str(world.people.folder / "bob@lab"), "-n", "chaosgpu-evidence-v1"],
        input=statement(written), capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    (folder / "bob@lab.sig").write_bytes(evidence.stdout)
    assert "does not hold for this plan" in _why(world, written)


def test_a_stranger_a_pattern_and_an_ended_key_do_not_count(world: World) -> None:
    written = world.plan("bob@lab")
    key = world.people.public("bob@lab")
    for line, sentence in (
        (f"carol@lab {key}", "does not hold for this plan"),
        (f"*@lab {key}", "is not that of a named person"),
        (f'bob@lab valid-before="20261101" {key}', "does not hold for this plan"),
        (f'bob@lab valid-after="20270101" {key}', "does not hold for this plan"),
    ):
        known = world.folder / "allowed"
        known.write_text(f"{line}\n")
        assert sentence in (why_not_approved(written, 1, known, ("alice@lab",), MONDAY) or ""), line
    known.write_text(f'bob@lab valid-after="20261101",valid-before="20270101" {key}\n')
    assert why_not_approved(written, 1, known, ("alice@lab",), MONDAY) is None


def test_an_approval_ends_with_its_day_in_the_zone_of_the_window(world: World) -> None:
    written = world.plan("bob@lab", approvals={"needed": 1, "valid_until": "2026-12-10"})
    last = dt.datetime(2026, 12, 10, 22, 59, tzinfo=dt.UTC)
    assert _why(world, written, now=last) == ""
    assert "count until 2026-12-10" in _why(world, written, now=last + dt.timedelta(minutes=1))


def test_nobodys_signatures_count_where_the_site_does_not_say_whose(world: World) -> None:
    written = world.plan("bob@lab")
    assert "nobody has said whose signatures count" in (why_not_approved(written, 1, None, (), MONDAY) or "")
    gone = Path("/nonexistent/allowed")
    assert "cannot be read" in (why_not_approved(written, 1, gone, (), MONDAY) or "")


def test_what_cannot_be_signed_is_told(world: World) -> None:
    written = world.plan()
    with pytest.raises(Refused, match="ssh-keygen did not sign with"):
        sign(written, world.folder / "none", "bob@lab")
    with pytest.raises(BadArgument, match="--as must be a name"):
        sign(written, world.people.folder / "bob@lab", "../bob")


def test_a_host_is_given_no_more_signatures_than_it_reads(world: World) -> None:
    written = world.plan("bob@lab")
    [good], _ = approvals_of(written, world.people.allowed_signers, ("alice@lab",), MONDAY)
    assert for_hosts(written, [good] * 11)["signatures"] == for_hosts(written, [good] * 10)["signatures"]
