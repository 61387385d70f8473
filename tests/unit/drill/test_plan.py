# SPDX-License-Identifier: Apache-2.0
"""The file of a plan: what is wrong in it is one sentence, and what YAML would guess is not guessed."""

import json
from typing import Any

import pytest

from chaosgpu.drill.experiments import STOP_KEY, load
from chaosgpu.drill.planfile import parse, read
from chaosgpu.errors import BadArgument, ChaosGpuError, Refused
from support.chaos import GUARD
from support.drills import World, experiment


def test_a_whole_plan_is_read(world: World) -> None:
    plan = read(world.write()).plan
    assert (plan.drill, plan.level, plan.longest_s) == ("leak", 1, 900)


ONE_HOST = {"names": ["a"], "inventory": ["i"]}
DAY = {"from": "2026-12-24", "to": "2026-12-25", "why": "x"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"drill": "Leak 1"}, "drill must be a name of small letters, digits and '-'."),
        ({"titel": "x"}, "the file has no key 'titel', perhaps 'title' was meant."),
        ({"window__open": "09:00"}, "window has no key 'open', perhaps 'opens' was meant."),
        ({"window__time_zone": None}, "window lacks the key 'time_zone'."),
        ({"window__blackouts": [{**DAY, "to": "2026-12-20"}]}, "blackouts.0: ends before it begins."),
        ({"window__blackouts": [{**DAY, "from": "2026-12-24T09:00+01:00"}]}, "must be without an offset"),
        ({"window__blackouts": [{"form": "2026-12-24"}]}, "perhaps 'from' was meant"),
        ({"window__last": "2026-11-29"}, "last is 2026-11-29, before first, 2026-11-30: it never opens"),
        ({"window__closes": "09:00"}, "opens and closes are both 09:00: it never opens"),
        ({"window__opens": "9 o'clock"}, "window.opens must be a time of 24 hours, such as 09:30."),
        ({"level": 5}, "level: input should be less than or equal to 4."),
        ({"level": "1"}, "level: input should be a valid integer."),
        ({"hosts__names": ["gpu1"]}, "hosts: without an inventory only the host localhost can be reached"),
        ({"hosts__names": []}, "hosts.names: list should have at least 1 item"),
        ({"hosts": {**ONE_HOST, "names": ["all:!a"]}}, "must be the name of one host of the inventory, and no"),
        ({"hosts": {"names": ["a", "a"], "inventory": ["i"]}}, "hosts: names has a host twice."),
        ({"hosts": {**ONE_HOST, "blast_radius": 2}}, "blast_radius is 2, and names has 1."),
        ({"hosts": {"names": ["localhost"], "inventory": ["i"]}}, "localhost is this controller itself"),
        ({"experiments": []}, "experiments: list should have at least 1 item"),
        ({"faults": []}, "faults: list should have at least 1 item"),
        ({"change_id": "CHG 1; rm"}, "change_id must be a change's name without spaces"),
        ({"notify": {"url": "https://secret"}}, "notify has no key 'url'; it has: url_from_env, on, within_s"),
        ({"schedule__at": "25:00"}, "schedule.at must be a time"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(world: World, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument) as said:
        read(world.write(**changes))
    assert sentence in str(said.value)
    assert str(said.value).startswith(f"The plan {world.folder}/plan.yaml cannot be used: ")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"drill: a\ndrill: b\n", "the key 'drill' is there twice"),
        (b"- a\n", "is no plan"),
        (b"drill: [", "is no YAML"),
        (b"\xff", "is not UTF-8"),
        (b"? [a]\n: b\n", "a key must be a text"),
        (b"a: !!python/object/apply:os.system ['true']\n", "is no YAML"),
        (b"[" * 5000, "is no YAML"),
    ],
)
def test_what_is_no_plan_is_one_sentence(raw: bytes, sentence: str) -> None:
    with pytest.raises(BadArgument, match=r"^plan\.yaml") as said:
        parse(raw, "plan.yaml")
    assert sentence in str(said.value)
    assert "\n" not in str(said.value)


def test_a_time_without_quotes_is_a_time(world: World) -> None:
    path = world.write()
    path.write_text(path.read_text().replace("'12:00'", "12:00").replace("'2026-11-30'", "2026-11-30"))
    assert "closes: 12:00" in path.read_text()
    window = read(path).plan.window
    assert (window.closes, window.first.isoformat()) == ("12:00", "2026-11-30")


def _experiment(world: World, **changes: Any) -> None:
    (world.folder / "leak.json").write_text(json.dumps(experiment(**changes)))


GUARDED = {**GUARD, "provider": {**GUARD["provider"], "arguments": {"stop_when": f"elapsed(5) | ${{{STOP_KEY}}}"}}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("written", "changes", "error", "sentence"),
    [
        ({"level": 2}, {}, Refused, "of level 2, and leak is a drill of level 1: a level may not be skipped"),
        ({"controls": []}, {}, BadArgument, "has no guard"),
        ({}, {"experiments__set": {"word": 1}}, BadArgument, "does not declare word in its configuration"),
        ({}, {"experiments__set": {"chaosgpu_limit": "all"}}, BadArgument, "follows from the plan's hosts"),
        ({"configuration": {"chaosgpu_inventory": ""}}, {}, BadArgument, "is for hosts of an inventory, and"),
        ({}, {"stop_when": "elapsed(9)"}, BadArgument, "does not declare chaosgpu_stop_when"),
        ({"configuration": {STOP_KEY: ""}}, {"stop_when": "elapsed(9)"}, BadArgument, "would not hear of"),
        ({}, {"hosts": ONE_HOST}, BadArgument, "does not declare chaosgpu_inventory"),
    ],
)  # fmt: skip
def test_what_would_not_reach_the_experiment_is_refused(
    world: World, written: dict[str, Any], changes: dict[str, Any], error: type[ChaosGpuError], sentence: str
) -> None:
    _experiment(world, **written)
    given = changes.pop("experiments__set", None)
    if given is not None:
        changes["experiments"] = [world.planned("leak.json", set=given)]
    with pytest.raises(error) as said:
        load(read(world.write(**changes)))
    assert sentence in str(said.value)


def test_what_the_plan_says_reaches_the_experiment(world: World) -> None:
    _experiment(world, configuration={STOP_KEY: "", "word": ""}, controls=[GUARDED])
    changes: dict[str, Any] = {
        "stop_when": "elapsed(9)",
        "experiments": [world.planned("leak.json", set={"word": [1, "two"]})],
    }
    [found] = load(read(world.write(**changes)))
    assert found.settings == ['word=[1, "two"]', f'{STOP_KEY}="elapsed(9)"']


def test_hosts_go_to_an_experiment_by_their_names(world: World) -> None:
    keys = ("chaosgpu_inventory", "chaosgpu_limit", "chaosgpu_blast_radius")
    _experiment(world, configuration=dict.fromkeys(keys, ""))
    hosts = {"names": ["gpu1", "gpu2"], "inventory": ["hosts.yaml"], "blast_radius": 2}
    [found] = load(read(world.write(hosts=hosts)))
    assert found.values == dict(zip(keys, ([f"{world.folder}/hosts.yaml"], "gpu1,gpu2", 2), strict=True))


def test_an_experiment_that_was_changed_is_refused(world: World) -> None:
    written = read(world.write())
    load(written)
    _experiment(world, title="another")
    with pytest.raises(
        Refused, match=r"is not the experiment that was planned: its digest is [0-9a-f]{64}, and the plan"
    ):
        load(written)
