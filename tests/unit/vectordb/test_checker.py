# SPDX-License-Identifier: Apache-2.0
"""The checker: histories by hand for each rule, and histories of an honest store that must never alarm."""

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosgpu.errors import BadArgument
from chaosgpu.vectordb.checker import Checked, allowed, check
from chaosgpu.vectordb.history import Asked, Ended, Header, History, Identifier, Recorder, Seen, read_history
from chaosgpu.vectordb.known_set import vector_of
from support.write_history import Written

HEADER = Header(1, 4, "chaosgpu_test", "chroma")


def checked(written: Written, **final: tuple[Seen, ...] | None) -> Checked:
    rows = {int(row.removeprefix("r")): seen for row, seen in final.items()}
    return check(written.history(), rows)


def kinds(found: Checked) -> list[str]:
    return [one.kind for one in found.findings]


def test_what_was_acknowledged_and_is_there_is_clean() -> None:
    found = checked(Written().put(1, 1).put(2, 1).delete(2), r1=(Seen(1, 1),), r2=())
    assert found.clean
    assert (found.rows, found.acknowledged) == (2, 3)


@pytest.mark.parametrize(
    ("written", "seen", "kind"),
    [
        (Written().put(1, 1), (), "lost"),
        (Written().put(1, 1).put(1, 2), (), "lost"),
        (Written().put(1, 1), (Seen(1, 1), Seen(1, 1)), "duplicated"),
        (Written().put(1, 1).put(1, 2), (Seen(1, 1), Seen(1, 2)), "duplicated"),
        (Written().put(1, 1).delete(1), (Seen(1, 1),), "resurrected"),
        (Written().put(1, 1).put(1, 2), (Seen(1, 1),), "stale"),
        (Written().put(1, 1, "failed"), (Seen(1, 1),), "refused"),
        (Written().put(1, 1).put(1, 2, "failed"), (Seen(1, 2),), "refused"),
        (Written().put(1, 1), (Seen(2, 1),), "corrupted"),
        (Written().put(1, 1), (Seen(None, None),), "corrupted"),
        (Written().put(1, 1), (Seen(1, 7),), "corrupted"),
    ],
)
def test_each_damage_has_its_name(written: Written, seen: tuple[Seen, ...], kind: str) -> None:
    assert kinds(checked(written, r1=seen)) == [kind]


def test_a_row_that_nobody_wrote_is_corrupted() -> None:
    assert kinds(checked(Written().put(1, 1), r1=(Seen(1, 1),), r2=(Seen(2, 1),))) == ["corrupted"]


@pytest.mark.parametrize("seen", [(), (Seen(1, 1),), (Seen(1, 2),)])
def test_a_write_of_unknown_fate_may_be_done_or_not(seen: tuple[Seen, ...]) -> None:
    written = Written().put(1, 1).put(1, 2, "unknown").delete(1, "unknown")
    assert checked(written, r1=seen).clean
    assert checked(Written().put(1, 1).put(1, 2, None).delete(1, None), r1=seen).clean


def test_an_unknown_write_may_come_after_one_that_was_acknowledged_later() -> None:
    late = Written().put(1, 1, "unknown").put(1, 2)
    assert checked(late, r1=(Seen(1, 1),)).clean
    assert checked(late, r1=(Seen(1, 2),)).clean
    assert kinds(checked(late, r1=())) == ["lost"]


def test_of_writes_that_overlapped_any_may_be_the_last() -> None:
    events = (Asked(1, "put", ((1, 1),), 0.0), Asked(2, "put", ((1, 2),), 0.5), Ended(2, "acknowledged", 1.0),
              Ended(1, "acknowledged", 2.0))  # fmt: skip
    for version in (1, 2):
        assert check(History(HEADER, events), {1: (Seen(1, version),)}).clean
    assert not check(History(HEADER, events), {1: ()}).clean


def test_a_row_that_could_not_be_read_is_not_clean_and_no_finding() -> None:
    found = checked(Written().put(1, 1), r1=None)
    assert (found.clean, found.unread, found.findings) == (False, (1,), ())


def test_reads_during_the_history_are_judged_by_their_own_time() -> None:
    written = Written().put(1, 1).read(1, Seen(1, 1)).put(1, 2).read(1, Seen(1, 2)).delete(1).read(1)
    assert checked(written, r1=()).clean
    stale = Written().put(1, 1).put(1, 2).read(1, Seen(1, 1))
    found = checked(stale, r1=(Seen(1, 2),))
    assert kinds(found) == ["stale"]
    assert found.findings[0].during
    assert check(stale.history(), {1: (Seen(1, 2),)}, visible_within_s=60).clean


def test_a_read_beside_a_write_may_see_either() -> None:
    events = (Asked(1, "put", ((1, 1),), 0.0), Ended(1, "acknowledged", 1.0), Asked(2, "put", ((1, 2),), 2.0),
              Asked(3, "get", ((1, 0),), 2.5), Ended(2, "acknowledged", 3.0))  # fmt: skip
    for version in (1, 2):
        read = Ended(3, "acknowledged", 4.0, ((1, (Seen(1, version),)),))
        assert check(History(HEADER, (*events, read)), {1: (Seen(1, 2),)}).clean
    nothing = Ended(3, "acknowledged", 4.0, ((1, ()),))
    assert kinds(check(History(HEADER, (*events, nothing)), {1: (Seen(1, 2),)})) == ["lost"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_an_honest_store_never_alarms_whatever_breaks_between(seed: int) -> None:
    written = honest(random.Random(seed))
    history, final = written
    found = check(history, final)
    assert found.clean, found.to_json()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_any_one_row_that_is_damaged_in_it_is_found(seed: int) -> None:
    rng = random.Random(seed)
    history, final = honest(rng)
    writes = [event for event in history.events if isinstance(event, Asked) and event.do != "get"]
    ends = {event.op: event.outcome for event in history.events if isinstance(event, Ended)}
    sure = [row for row in final if all(ends.get(one.op) == "acknowledged" for one in writes if row in dict(one.rows))]
    if not sure:
        return
    row = rng.choice(sure)
    now = final[row]
    assert now is not None
    damaged = {
        "lost": (), "twice": (*now, *now), "other": (Seen(row + 1000, 1),), "nobody's": (Seen(None, None),),
    }  # fmt: skip
    name = rng.choice(["lost", "twice", "other", "nobody's"] if now else ["other", "nobody's"])
    found = check(history, {**final, row: damaged[name]})
    assert [one.row for one in found.findings] == [row], name


def honest(rng: random.Random) -> tuple[History, dict[int, tuple[Seen, ...] | None]]:
    """Play a store that does what it says, with requests lost before and after they were done."""
    written, store, pending = Written(), dict[int, int](), list[tuple[int, int | None]]()
    version = dict.fromkeys(range(1, 7), 0)
    for _ in range(rng.randrange(1, 40)):
        while pending and rng.random() < 0.3:
            _apply(store, *pending.pop(rng.randrange(len(pending))))
        row, fate = rng.randrange(1, 7), rng.random()
        outcome = "acknowledged" if fate < 0.7 else "failed" if fate < 0.8 else "unknown"
        makes: int | None = None
        if rng.random() < 0.7:
            version[row] += 1
            makes = version[row]
            written.put(row, makes, outcome)
        else:
            written.delete(row, outcome)
        if outcome == "acknowledged":
            _apply(store, row, makes)
        elif outcome == "unknown":
            pending.append((row, makes))
        if rng.random() < 0.3:
            asked = rng.randrange(1, 7)
            written.read(asked, *([Seen(asked, store[asked])] if asked in store else []))
    return written.history(), {row: ((Seen(row, store[row]),) if row in store else ()) for row in version}


def _apply(store: dict[int, int], row: int, makes: int | None) -> None:
    if makes is None:
        store.pop(row, None)
    else:
        store[row] = makes


def test_allowed_begins_with_absent() -> None:
    assert allowed([], 0.0, 1.0) == {None}


def test_a_history_is_read_as_it_was_written_and_a_torn_end_is_left_out(tmp_path: Path) -> None:
    file = io.StringIO()
    recorder = Recorder(file, HEADER, now=iter(range(100)).__next__)
    op = recorder.asked("put", [(1, 1), (2, 1)])
    recorder.ended(op, "acknowledged")
    read = recorder.asked("get", [(1, 0)])
    recorder.ended(read, "acknowledged", [(1, [Seen(1, 1)])])
    recorder.asked("delete", [(2, 0)])
    path = tmp_path / "h.jsonl"
    path.write_text(file.getvalue())
    history = read_history(path)
    assert history.header == HEADER
    assert [type(event).__name__ for event in history.events] == ["Asked", "Ended", "Asked", "Ended", "Asked"]
    assert check(history, {1: (Seen(1, 1),), 2: ()}).clean
    path.write_text(file.getvalue() + '{"op": 9, "outc')
    assert read_history(path) == history


@pytest.mark.parametrize("text", ["", "{}\n", '{"format": 9}\n', "no\n", '{"format": 1, "seed": 1}\n'])
def test_a_damaged_history_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "h").write_text(text)
    with pytest.raises(BadArgument, match=r"^The history .*\.$"):
        read_history(tmp_path / "h")


def test_a_line_in_the_middle_that_is_none_is_damage(tmp_path: Path) -> None:
    file = io.StringIO()
    Recorder(file, HEADER)
    (tmp_path / "h").write_text(file.getvalue() + '{"op": 1}\n{"op": 1, "outcome": "acknowledged", "at_s": 1}\n')
    with pytest.raises(BadArgument, match="line 2 is neither a question nor an end"):
        read_history(tmp_path / "h")


def test_a_vector_is_known_again_whatever_decimals_it_comes_back_with() -> None:
    known = Identifier(seed=1, dimension=8)
    for row in range(1, 400):
        vector = known.expect(row, 1)
        # As PostgreSQL writes a float4: the fewest digits that name it.
        shortest = tuple(float(f"{x:.7g}") if float(f"{x:.7g}") == x else float(f"{x:.9g}") for x in vector)
        assert known.identify(shortest) == Seen(row, 1)
    assert known.identify(vector_of(2, 1, 1, 8)) == Seen(None, None)
    assert known.identify(()) == Seen(None, None)


def test_findings_are_told_in_words_and_counted_by_row() -> None:
    found = checked(Written().put(1, 1).put(2, 1), r1=(), r2=(Seen(2, 1),))
    said = found.to_json()
    assert (said["clean"], said["lost"], said["stale"]) == (False, 1, 0)
    assert said["findings"] == ["lost: row 1 is absent, and its version 1 was acknowledged"]
    assert replace(found, findings=()).clean
