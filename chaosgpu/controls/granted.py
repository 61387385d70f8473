# SPDX-License-Identifier: Apache-2.0
"""By what a run goes: the change and the approval that its drill has handed over in the environment."""

import json
from collections.abc import Mapping
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.ask import change_id
from chaosgpu.fleet.values import JsonObject

__all__ = ["approval", "change"]

_CHANGE, _APPROVAL = "CHAOSGPU_CHANGE_TICKET", "CHAOSGPU_APPROVAL"
_MOST_BYTES = 1 << 19


def change(environment: Mapping[str, str]) -> JsonObject:
    """Return {"change_id"} for the record, or nothing; BadArgument where what is named is no change's name."""
    found = environment.get(_CHANGE)
    if found and change_id() != found:
        raise BadArgument(f"{_CHANGE} must be a change's name of up to 60 signs without spaces, not {found!r}.")
    return {"change_id": found} if found else {}


def approval(environment: Mapping[str, str]) -> JsonObject:
    """Return what hosts that demand an approval are given to judge; BadArgument where it cannot be read."""
    path = environment.get(_APPROVAL)
    if not path:
        return {}
    try:
        with Path(path).open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except OSError as error:
        raise BadArgument(f"The approval {path} ({_APPROVAL}) could not be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadArgument(f"The approval {path} ({_APPROVAL}) is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise BadArgument(f"The approval {path} ({_APPROVAL}) must be an object with statement and signatures.")
    return found
