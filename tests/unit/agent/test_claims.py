# SPDX-License-Identifier: Apache-2.0
"""One lease a resource, whoever asks; what cannot be read is held."""

import json
import os
from pathlib import Path

import pytest

from chaosgpu.agent.claims import Claims, Owner, keys
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.errors import Claimed
from support.agent_host import FILE, LOCK, AgentHost


@pytest.mark.parametrize("fault", [FILE, LOCK])
def test_of_two_applies_at_once_exactly_one_wins(host: AgentHost, fault: str) -> None:
    for turn in range(6):
        leases = [f"a{turn}", f"b{turn}", f"c{turn}"]
        children = [host.start("apply", {"protocol": 1, **host.order(fault, lease)}) for lease in leases]
        answers = [host.finish(child) for child in children]
        won = [lease for lease, answer in zip(leases, answers, strict=True) if answer["status"] == 0]
        assert len(won) == 1
        assert {a["error"]["kind"] for a in answers if "error" in a} <= {"claimed", "no_effect"}
        assert not [a for a in answers if "error" in a and "Its undo is" in a["error"]["message"]]
        assert host.broken()
        assert host.undo(won[0])["state"] == "clean"


def test_two_homes_share_the_claims_of_the_machine(host: AgentHost, tmp_path: Path) -> None:
    other = AgentHost(tmp_path, "other home")
    host.apply()
    refused = other.apply(lease="l2")["error"]
    assert refused["kind"] == "claimed"
    assert str(host.home) in refused["message"]
    host.undo()
    assert other.apply(lease="l2")["state"] == "active"
    other.undo("l2")
    other.close()


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(str(tmp_path), SystemClock())


def nobody(_: Owner) -> None:
    """Mend nothing."""


@pytest.mark.parametrize("content", ["", "{", "[]", '{"lease": "x"}', '{"lease": "../..", "home": "/"}'])
def test_a_claim_that_cannot_be_read_is_held(claims: Claims, tmp_path: Path, content: str) -> None:
    Path(claims.path("gpu:x")).write_text(content)
    with pytest.raises(Claimed):
        claims.take(["gpu:x"], Owner(str(tmp_path), "mine"), nobody)


def test_a_store_that_took_unreadable_for_free_would_let_a_second_lease_in(claims: Claims, tmp_path: Path) -> None:
    """The control: the same claim as above, judged the other way round."""

    class Gullible(Claims):
        def _ended(self, owner: Owner) -> bool:
            return owner.lease == "unknown" or super()._ended(owner)

    Path(claims.path("gpu:x")).write_text("{")
    Gullible(str(tmp_path), SystemClock()).take(["gpu:x"], Owner(str(tmp_path), "mine"), nobody)
    assert json.loads(Path(claims.path("gpu:x")).read_text())["lease"] == "mine"


def test_a_claim_of_a_lease_whose_record_is_gone_is_held(claims: Claims, tmp_path: Path) -> None:
    claims.take(["gpu:x"], Owner(str(tmp_path / "home"), "first"), nobody)
    with pytest.raises(Claimed, match="first"):
        claims.take(["gpu:x"], Owner(str(tmp_path / "home"), "second"), nobody)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_record_that_is_no_plain_file_is_held_and_nobody_waits_for_it(
    claims: Claims, tmp_path: Path, kind: str
) -> None:
    claims.take(["gpu:x"], Owner(str(tmp_path / "home"), "first"), nobody)
    folder = tmp_path / "home/leases/first"
    folder.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(folder / "state")
    elif kind == "link":
        (folder / "state").symlink_to("/dev/zero")
    else:
        (folder / "state").mkdir()
    with pytest.raises(Claimed, match="first"):
        claims.take(["gpu:x"], Owner(str(tmp_path / "home"), "second"), nobody)


def test_a_claim_of_a_damaged_lease_is_held(host: AgentHost) -> None:
    host.apply()
    state = host.home / "leases/l1/state"
    state.write_bytes(b"\xff" * state.stat().st_size)
    assert host.apply(lease="l2")["error"]["kind"] == "claimed"


def test_a_claim_that_is_a_link_is_not_followed(claims: Claims, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(claims.path("gpu:x")).symlink_to(victim)
    with pytest.raises(Claimed):
        claims.take(["gpu:x"], Owner(str(tmp_path), "mine"), nobody)
    assert victim.read_text() == "precious"


def _let_in(claims: Claims, home: Path) -> list[tuple[int, int]]:
    """Return every bit of a claim whose flip lets a second lease in, where all its sisters have ended."""

    def taken() -> bool:
        try:
            claims.take(["gpu:x"], Owner(str(home), "second"), nobody)
        except Claimed:
            return False
        return True

    path = Path(claims.path("gpu:x"))
    claims.take(["gpu:x"], Owner(str(home), "run-1"), nobody)
    whole = path.read_bytes()
    found = []
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            found += [(place, bit)] if taken() else []
    return found


class _SistersEnded(Claims):
    """As where every lease but `run-1` has a record that says that it ended."""

    def _ended(self, owner: Owner) -> bool:
        return not owner.home.startswith("(unreadable") and owner.lease != "run-1"


def test_no_flipped_bit_of_a_claim_lets_a_second_lease_in(tmp_path: Path) -> None:
    assert _let_in(_SistersEnded(str(tmp_path), SystemClock()), tmp_path) == []


def test_a_claim_without_a_digest_would_let_one_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same flips where nothing is compared."""
    monkeypatch.setattr(Owner, "sha256", property(lambda _: "always the same"))
    assert _let_in(_SistersEnded(str(tmp_path), SystemClock()), tmp_path) != []


def test_all_claims_are_taken_or_none(claims: Claims, tmp_path: Path) -> None:
    claims.take(["b"], Owner(str(tmp_path), "first"), nobody)
    with pytest.raises(Claimed):
        claims.take(["a", "b", "c"], Owner(str(tmp_path), "second"), nobody)
    assert not Path(claims.path("a")).exists()
    assert not Path(claims.path("c")).exists()


def test_another_ones_claim_is_not_released(claims: Claims, tmp_path: Path) -> None:
    claims.take(["a"], Owner(str(tmp_path), "first"), nobody)
    claims.release(["a"], Owner(str(tmp_path), "second"))
    assert Path(claims.path("a")).exists()


def test_a_half_made_claim_of_a_killed_process_holds_nothing(claims: Claims, tmp_path: Path) -> None:
    Path(claims.path("a") + ".new").write_text('{"le')
    claims.take(["a"], Owner(str(tmp_path), "mine"), nobody)
    assert [path.name for path in tmp_path.glob("*.new")] == []


def test_an_undo_whose_claim_was_taken_by_another_lease_touches_nothing(host: AgentHost) -> None:
    host.apply()
    [claim] = host.claims()
    claim.write_text(json.dumps({"claim": "x", "lease": "other", "home": str(host.folder)}))
    line = host.undo()
    assert line["state"] == "stuck"
    assert "another lease" in line["reason"]
    assert host.broken()


def test_a_claim_that_was_cleaned_away_does_not_stop_the_undo(host: AgentHost) -> None:
    host.apply()
    host.claims()[0].unlink()
    assert host.undo()["state"] == "clean"
    assert not host.claims()


def test_gpus_of_a_simulator_are_claimed_with_its_instance() -> None:
    named = ("gpu:GPU-1:memory", "unit:triton", "gpu:GPU-2@sim7:clocks")
    assert keys(named, "sim7") == ("gpu:GPU-1@sim7:memory", "unit:triton", "gpu:GPU-2@sim7:clocks")
    assert keys(named, None) == named
