# SPDX-License-Identifier: Apache-2.0
"""A file exists: the plainest way for anybody on the host to stop a fault."""

import os

from chaosgpu.agent.errors import BadRequest
from chaosgpu.agent.readings.catalogue import Tools
from chaosgpu.agent.stops.contract import Condition, Look, Parameter, Unread
from chaosgpu.agent.values import JsonMapping

__all__ = ["FILE_EXISTS"]


def _look(params: JsonMapping, _: JsonMapping, __: Tools) -> Look:
    path = str(params["path"])
    if not path.startswith("/"):
        raise BadRequest(f"file_exists takes a whole path, not {path!r}.")
    try:
        os.stat(path)  # noqa: PTH116 (pathlib costs 9 ms at start)
    except FileNotFoundError:
        return Look(met=False, reading=f"there is no file {path}")
    except OSError as error:
        raise Unread(f"whether {path} exists cannot be told: {error.strerror}") from error
    return Look(met=True, reading=f"the file {path} exists")


FILE_EXISTS = Condition(
    "file_exists",
    "a file exists",
    (Parameter("path", "text", "the whole path"),),
    _look,
)
