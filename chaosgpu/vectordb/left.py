# SPDX-License-Identifier: Apache-2.0
"""What a run whose controller is gone has left in databases, from its record: for `chaosgpu recover`.

The key is not in the record. It is had as the experiment has it, from the environment or a vault; where it cannot be
had, a sentence says what to remove by hand.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument, ChaosGpuError, LedgerBroken
from chaosgpu.fleet.redaction import MASK
from chaosgpu.fleet.values import JsonObject, whole_object
from chaosgpu.lease.deeds import Deed, Settled
from chaosgpu.lease.directory import every_run
from chaosgpu.lease.ledger import entries_of
from chaosgpu.lease.run import Run
from chaosgpu.vectordb.backends.address import address
from chaosgpu.vectordb.backends.contract import own_collection
from chaosgpu.vectordb.undoing import BAD_VECTORS, CLIENT, ClientDeed, RowsDeed

__all__ = ["left_in_databases"]

_WITHIN_S = 30.0
_ACTIONS = "chaosgpu.vectordb.actions"


@dataclass
class _ByHand:
    """Something that nobody can take out from here."""

    sentence: str
    with_rollbacks: bool = False
    rank: int = 50

    def put_back(self, by: str) -> None:
        """Do nothing."""

    def settled(self) -> Settled:
        """Say what to do."""
        return Settled(not_restored=(self.sentence,), unfinished=(self.sentence,))


def left_in_databases(run: Run) -> list[Deed]:
    """Return what the record of a run without an end leaves to be taken out of databases.

    A collection that a younger run of this folder has named since is that run's, and left alone.
    """
    try:
        lines = entries_of(run.directory)
    except LedgerBroken:  # its recovery says so
        return []
    ours = [line for line in lines if (line.get("type") == CLIENT and line.get("own") is True) or _is_bad(line)]
    if not ours or any(line.get("type") == "run.finished" for line in lines):
        return []
    younger = [path for path in every_run(run.directory.parent) if path.name > run.id]
    try:
        theirs = {_where(line) for path in younger for line in entries_of(path) if line.get("type") == CLIENT}
    except LedgerBroken as error:
        named = ", ".join(sorted({f"{collection} at {url}" for url, collection in map(_where, ours)}))
        return [_ByHand(f"{named}: nobody knows whether a younger run uses it, so it was left alone: {error}")]
    found = {(_is_bad(line), *_where(line)): line for line in ours if _is_bad(line) or _where(line) not in theirs}
    return [_deed(run, line) for line in found.values()]


def _is_bad(line: JsonObject) -> bool:
    return line.get("type") == BAD_VECTORS


def _deed(run: Run, line: JsonObject) -> Deed:
    url, collection = _where(line)
    rows = _ids(line.get("rows"))
    try:
        where = address(line.get("backend"), url, _WITHIN_S, _secrets(run.directory, url))
        if not _is_bad(line):
            return ClientDeed(where, own_collection(collection))
        return RowsDeed(where, own_collection(collection), rows)
    except ChaosGpuError as error:
        what = f"the collection {collection}" if not _is_bad(line) else f"rows {rows} of {collection}"
        return _ByHand(f"{what} at {url} cannot be removed from here: {error} Remove it by hand.")


def _secrets(directory: Path, url: str) -> Mapping[str, object]:
    """Have the key as the action had it that named this database; raise BadArgument where it cannot be had."""
    from chaoslib import substitute  # noqa: PLC0415 (a recovery of other things needs none of it)
    from chaoslib.configuration import load_configuration  # noqa: PLC0415 (likewise)
    from chaoslib.exceptions import ChaosException  # noqa: PLC0415 (likewise)
    from chaoslib.secret import load_secrets  # noqa: PLC0415 (likewise)

    try:
        experiment = json.loads((directory / "experiment.json").read_text(encoding="utf-8"))
        configuration = load_configuration(experiment.get("configuration", {}))
        secrets = load_secrets(experiment.get("secrets", {}), configuration)
        for provider in _providers(experiment):
            arguments = substitute(dict(whole_object(provider, "arguments")), configuration, secrets)
            if arguments.get("url") == url:
                return _known(arguments.get("secrets"), provider.get("secrets"), secrets)
    except (OSError, ValueError, ChaosException) as error:
        raise BadArgument(f"The key cannot be had as its experiment has it: {error}.") from error
    raise BadArgument(f"The record's experiment.json has no action on {url}, so the key is unknown.")


def _known(given: object, targets: object, secrets: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    found: dict[str, object] = dict(given) if isinstance(given, dict) else {}
    for target in targets if isinstance(targets, list) else []:
        found |= secrets.get(str(target), {})
    if any(MASK in str(value) for value in found.values()):
        raise BadArgument("The key stood in the experiment itself, and no record keeps one.")
    return found


def _providers(experiment: JsonObject) -> Iterator[JsonObject]:
    """Yield what each action on a vector database calls."""
    method = experiment.get("method")
    for activity in method if isinstance(method, list) else []:
        provider = whole_object(activity, "provider") if isinstance(activity, dict) else {}
        if provider.get("module") == _ACTIONS:
            yield provider


def _where(line: Mapping[str, object]) -> tuple[str, str]:
    return str(line.get("database")), str(line.get("collection"))


def _ids(rows: object) -> list[int]:
    return [row for row in rows if isinstance(row, int)] if isinstance(rows, list) else []
