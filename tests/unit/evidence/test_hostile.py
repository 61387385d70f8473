# SPDX-License-Identifier: Apache-2.0
"""Bundles that somebody made on purpose so that the verifier breaks: it says what is wrong, and never breaks off."""

import json
import os
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaosgpu.cli.main import main
from chaosgpu.evidence.sums import SIGNATURE, SUMS, write_sums
from chaosgpu.evidence.verify import Trust, Verified, verify
from support.evidence_world import SIGNER, World, lay

WEIRD: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e308, "", "\x1b[2J", "\ud800", "9999-99-99", [], [[[]]], {}, {"": {"": None}}, "../../x",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("hostile") / "world")


@pytest.fixture(scope="module")
def files(world: World) -> Mapping[str, bytes]:
    return world.export(world.drill("small", "deviated"))


def _anybody(changed: Mapping[str, bytes]) -> Verified:
    """Verify as if every signature were good: what is left are the rules about contents."""
    whole = {name: content for name, content in changed.items() if name != SUMS}
    sums = write_sums({name: content for name, content in whole.items() if name != SIGNATURE})
    return verify({**whole, SUMS: sums}, Trust(lambda *_: None, SIGNER))


def _places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from _places(value, (*path, key))


def _put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


def test_no_value_in_any_file_breaks_the_verifier(files: Mapping[str, bytes]) -> None:
    rng = random.Random(11)
    names = [name for name in sorted(files) if name.endswith((".json", ".jsonl"))]
    for _ in range(250):
        name = rng.choice(names)
        lines = [files[name]] if name.endswith(".json") else files[name].splitlines()
        number = rng.randrange(len(lines))
        document = json.loads(lines[number])
        changed = json.dumps(_put(document, rng.choice([*_places(document)]), rng.choice(WEIRD)), ensure_ascii=True)
        lines[number] = changed.encode()
        _anybody({**files, name: b"\n".join(lines) + b"\n"})


@pytest.mark.parametrize(
    "name", ["export.json", "run/journal.json", "log.jsonl", "run/ledger.jsonl", "run/experiment.json"]
)
def test_json_without_end_is_a_sentence(files: Mapping[str, bytes], name: str) -> None:
    for content in (
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\0" * 100,
        b"\xff\xfe",
        b"NaN",
        b'{"seq": NaN}\n',
        b"1" * 5000,
        b"",
    ):
        found = _anybody({**files, name: content})
        assert found.problems or found.missing


def test_a_name_that_a_terminal_would_obey_is_only_shown(
    world: World, files: Mapping[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lay(files, tmp_path / "bundle")
    (folder / "\x1b[2Jgone").write_text("")
    Path(os.fsdecode(bytes(folder) + b"/\xff\xfe")).write_text("")
    assert main(["evidence", "verify", str(folder), "--allowed-signers", str(world.allowed)]) == 5
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\\x1b[2Jgone" in said
