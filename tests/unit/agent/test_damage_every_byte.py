# SPDX-License-Identifier: Apache-2.0
"""Every byte of what a lease has on disk is damaged in turn, changed or cut off, and whoever might act on it is asked.

Never executed: the lease is `stuck` and says what to do by hand, or its older state counts and it is undone as written.
In this process and in memory, so that no byte has to be left out.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.agent.lease import apply
from chaosgpu.agent.revert import revert
from chaosgpu.agent.store import SLOT_BYTES
from support.kernel_steps import Bench, a_bench
from unit.agent.test_state_machine import a_damaged_record_is_executed

ROOM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (syncs cost nothing there)


@pytest.fixture
def broken() -> Iterator[Bench]:
    """Give the test a fault in force, on a host without processes."""
    with tempfile.TemporaryDirectory(dir=ROOM) as folder, a_bench(Path(folder)) as bench:
        apply(bench.host, bench.order())
        yield bench


def flips(whole: bytes, turn: int) -> Iterator[bytes]:
    """Yield it with each byte changed in one bit: another bit at each byte and in each turn."""
    for at, byte in enumerate(whole):
        yield whole[:at] + bytes([byte ^ 1 << (at + turn) % 8]) + whole[at + 1 :]


def cuts(whole: bytes) -> Iterator[bytes]:
    """Yield each beginning of it."""
    for length in range(len(whole)):
        yield whole[:length]


# ---- the undo record, and everybody who acts on one


def ask(verb: str, **request: Any) -> Callable[[Bench], None]:
    def asked(bench: Bench) -> None:
        answer = bench.world.ask("ann", verb, **request)
        assert isinstance(answer["leases"], list)
        [line] = answer["leases"]
        assert isinstance(line, dict)
        assert line["state"] == "stuck"
        assert "not executed. By hand: " in str(line["reason"])

    return asked


def keeper(bench: Bench) -> None:
    bench.world.keepers.alive.add(bench.lease().path)
    bench.world.look(bench.lease().path)
    assert not bench.world.keepers.alive  # it has nothing to do, and goes


def another(bench: Bench) -> None:
    """Ask for the same file under another id: whoever does so first ends what is over."""
    order = bench.order("l2")
    asked: Any = {"params": order.params, "ttl_s": order.ttl_s, "max_duration_s": order.max_duration_s}
    answer = bench.world.ask("ann", "apply", lease="l2", fault=order.fault, run=order.run, **asked)
    assert answer["kind"] == "claimed"


WHO: dict[str, Callable[[Bench], None]] = {
    "undo": ask("undo", lease="l1"),
    "undo all": ask("undo", all=True),
    "sweep": ask("sweep"),
    "list": ask("list", verify=True),
    "renew": ask("renew", leases=["l1"], ttl_s=20),
    "keeper": keeper,
    "another": another,
    "halt": ask("halt", by="ann", reason="pager"),  # the last: the host stays halted
}


def never_executed(bench: Bench, who: Callable[[Bench], None], damaged: Iterator[bytes]) -> int:
    path, count = Path(bench.lease().path, "undo"), 0
    for count, content in enumerate(damaged, 1):  # noqa: B007 (returned)
        path.write_bytes(content)
        who(bench)
        assert (bench.file.read_text(), len(bench.claims())) == ("broken", 1)
    return count


def test_whichever_byte_of_an_undo_record_is_changed_nobody_executes_it(broken: Bench) -> None:
    path = Path(broken.lease().path, "undo")
    whole = path.read_bytes()
    for turn, who in enumerate(WHO.values()):
        assert never_executed(broken, who, flips(whole, turn)) == len(whole)
    path.write_bytes(whole)
    assert revert(broken.host, broken.lease(), "undo").state == "clean"  # the control: whole again, it is executed


def test_wherever_an_undo_record_is_cut_off_nobody_executes_it(broken: Bench) -> None:
    path = Path(broken.lease().path, "undo")
    whole = path.read_bytes()
    for who in ("undo", "sweep"):
        assert never_executed(broken, WHO[who], cuts(whole)) == len(whole)
    assert never_executed(broken, WHO["undo"], (whole + bytes([byte]) for byte in range(256))) == 256
    path.write_bytes(whole)
    assert revert(broken.host, broken.lease(), "undo").state == "clean"


def test_an_agent_that_trusts_its_record_executes_a_damaged_one(broken: Bench) -> None:
    """The control: the same look at the same bytes finds it out."""
    whole = Path(broken.lease().path, "undo").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        a_damaged_record_is_executed(patch)
        with pytest.raises(AssertionError):
            never_executed(broken, WHO["undo"], flips(whole, 0))
    assert broken.file.read_text() != "broken"


# ---- the state, in two slots


def slots(raw: bytes) -> tuple[bytes, bytes]:
    """Return what is written in each of the two slots, without the room that is left."""
    return raw[:SLOT_BYTES].rstrip(b"\0"), raw[SLOT_BYTES:].rstrip(b"\0")


def laid_out(first: bytes, second: bytes) -> bytes:
    return first.ljust(SLOT_BYTES, b"\0") + second.ljust(SLOT_BYTES, b"\0")


def undone(bench: Bench, content: bytes, counts: str) -> None:
    """Undo the fault with this state on disk, of which `counts` is what is read: it is as it was before."""
    Path(bench.lease().path, "state").write_bytes(content)
    assert bench.state().state == counts
    assert revert(bench.host, bench.lease(), "undo").state == "clean"
    assert (bench.file.read_text(), bench.claims()) == ("well", [])
    bench.file.write_text("broken")  # as it was in force, for the next


def stuck(bench: Bench, content: bytes) -> None:
    Path(bench.lease().path, "state").write_bytes(content)
    state = revert(bench.host, bench.lease(), "undo", even_stuck=True)
    assert state.state == "stuck"
    assert "not executed. By hand: " in str(state.reason)
    assert bench.file.read_text() == "broken"


def test_whichever_byte_of_a_state_is_changed_the_other_slot_counts_and_the_fault_is_undone(broken: Bench) -> None:
    active, armed = slots(Path(broken.lease().path, "state").read_bytes())
    for damaged in flips(active, 0):
        undone(broken, laid_out(damaged, armed), "armed")
    for damaged in flips(armed, 4):
        undone(broken, laid_out(active, damaged), "active")


def test_wherever_a_state_is_cut_off_the_whole_slot_counts_or_it_is_stuck(broken: Bench) -> None:
    active, armed = slots(Path(broken.lease().path, "state").read_bytes())
    for cut in cuts(active):
        stuck(broken, cut)
        undone(broken, laid_out(armed, b"")[:SLOT_BYTES] + cut, "armed")
    for cut in cuts(armed):
        undone(broken, laid_out(active, b"")[:SLOT_BYTES] + cut, "active")
    for room in (len(active), SLOT_BYTES - 1):  # nothing is cut off but room for later states
        undone(broken, laid_out(active, armed)[:room], "active")


def test_with_one_slot_gone_every_byte_of_the_other_is_needed(broken: Bench) -> None:
    active, armed = slots(Path(broken.lease().path, "state").read_bytes())
    for whole, place in ((active, lambda slot: (slot, b"")), (armed, lambda slot: (b"", slot))):
        for damaged in flips(whole, 2):
            stuck(broken, laid_out(*place(damaged)))
    assert len(broken.claims()) == 1
    undone(broken, laid_out(b"", armed), "armed")  # the control: whole, it is enough


def test_on_the_room_that_is_left_in_a_slot_nothing_hangs(broken: Bench) -> None:
    active, armed = slots(Path(broken.lease().path, "state").read_bytes())
    full = [slot + b"\xff" * (SLOT_BYTES - len(slot)) for slot in (active, armed)]
    undone(broken, full[0] + full[1], "active")


def test_a_lease_that_has_ended_and_lost_its_newest_state_changes_nothing_when_it_is_ended_again(broken: Bench) -> None:
    assert revert(broken.host, broken.lease(), "undo").state == "clean"
    path = Path(broken.lease().path, "state")
    clean, reverting = slots(path.read_bytes())
    broken.file.write_text("a person's")
    for damaged in flips(clean, 1):
        path.write_bytes(laid_out(damaged, reverting))
        assert broken.state().state == "reverting"
        assert revert(broken.host, broken.lease(), "deadline").state == "clean"
        assert (broken.file.read_text(), broken.claims()) == ("a person's", [])
