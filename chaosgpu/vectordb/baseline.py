# SPDX-License-Identifier: Apache-2.0
"""The healthy state of a canary collection, learned once and kept in a file: recall, its standard error, the alarm."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.vectordb.known_set import KnownSet

__all__ = ["CONFIGURATION_KEY", "ENVIRONMENT_KEY", "Baseline", "alarm_below", "known_baseline", "standard_error"]

CONFIGURATION_KEY = "chaosgpu_vectors"
ENVIRONMENT_KEY = "CHAOSGPU_VECTORS"
_VERSION = 1
_MOST_BYTES = 1 << 20
# research/serving.md §5.3: 500 trials have a standard error of 1.3 % at a recall of 0.9.
_STANDARD_ERRORS = 3.0


def standard_error(recall: float, trials: int) -> float:
    """Return the standard error of a share, after Agresti and Coull: two of each kind are added, so 1.0 has one too."""
    total = trials + 4
    share = (recall * trials + 2) / total
    return math.sqrt(share * (1 - share) / total)


def alarm_below(recall: float, trials: int) -> float:
    """Return the recall below which it is not chance any more: three standard errors under the baseline."""
    return max(0.0, recall - _STANDARD_ERRORS * standard_error(recall, trials))


@dataclass(frozen=True)
class Baseline:
    """What was found while the database was healthy."""

    kind: str
    version: str
    collection: str
    known: KnownSet
    recall: float
    trials: int
    # Rows that did not come first for their own vector even then: an approximate index may miss a few.
    selves_missing: tuple[int, ...]
    p50_ms: float

    @property
    def alarm_below(self) -> float:
        """The recall below which it is wrong."""
        return alarm_below(self.recall, self.trials)

    def write(self, path: Path) -> None:
        """Write it, as a whole or not at all."""
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"format": _VERSION, **asdict(self)}, indent=1) + "\n")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise BadArgument(f"The baseline could not be written to {path}: {error.strerror}.") from error


def read(path: Path) -> Baseline:
    """Read a baseline."""
    again = "Learn it with learn_canary while the database is healthy."
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadArgument(f"{path} is larger than a baseline is. {again}")
        document = json.loads(path.read_text())
        if document.pop("format") != _VERSION:
            raise BadArgument(f"{path} is of another version. {again}")
        known = KnownSet(**document.pop("known"))
        return Baseline(known=known, selves_missing=tuple(document.pop("selves_missing")), **document)
    except OSError as error:
        raise BadArgument(f"The baseline {path} cannot be read: {error.strerror}. {again}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadArgument(f"{path} is not a whole baseline ({error}). {again}") from error


def known_baseline(path: object, configuration: Mapping[str, object] | None) -> Baseline:
    """Read the baseline that an experiment means: the argument, else its configuration, else the environment."""
    chosen = path or (configuration or {}).get(CONFIGURATION_KEY) or os.environ.get(ENVIRONMENT_KEY)
    if not isinstance(chosen, str):
        raise BadArgument(
            "No baseline of the canary collection: learn it with learn_canary while the database is healthy, then name "
            f"the file as `baseline`, as configuration {CONFIGURATION_KEY}, or in ${ENVIRONMENT_KEY}."
        )
    return read(Path(chosen))
