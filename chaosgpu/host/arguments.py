# SPDX-License-Identifier: Apache-2.0
"""Which unit, package or folder is meant, checked before anything is asked of a host, and the order of its fault."""

import os

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import number, package_names, unit_name, versions, whole
from chaosgpu.fleet.values import JsonObject, JsonValue, seconds

__all__ = [
    "back_within",
    "cuda_code",
    "file_paths",
    "folder_path",
    "listed",
    "package_names",
    "put_in",
    "unit_name",
    "versions",
]

_MOST_FILES = 16


def back_within(value: object) -> float:
    """Check how long the unit may take to be there again."""
    return number("back_within_s", value, least=1, most=600)


def cuda_code(code: object) -> int:
    """Check the CUresult; which of them a host can make is told by the agent."""
    return whole("code", code, least=1, most=9999)


def file_paths(files: object) -> list[JsonValue]:
    """Check the paths of files, each named once; whether they are the unit's own is told by the agent."""
    if not isinstance(files, list) or not 0 < len(files) <= _MOST_FILES:
        raise BadArgument(f"files must be a list of 1 to {_MOST_FILES} absolute paths, not {files!r}.")
    for path in files:
        if not isinstance(path, str) or not path.startswith("/") or os.path.normpath(path) != path or path == "/":
            raise BadArgument(f"files must be absolute paths without '..' and a last '/', not {path!r}.")
    if len(set(files)) < len(files):
        raise BadArgument(f"files must name each file once, not {files!r}.")
    return [*files]


def folder_path(folder: object) -> str:
    """Check the path of a folder; whether it is there is told by the agent."""
    if not isinstance(folder, str) or not folder.startswith("/") or os.path.normpath(folder) != folder:
        raise BadArgument(f"folder must be an absolute path without '..' and a last '/', not {folder!r}.")
    return folder


def listed(words: object) -> list[JsonValue]:
    """Check a list of texts that is not empty."""
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise BadArgument(
            f'arguments must be a list of texts, such as ["--gpu-memory-utilization=0.4"], not {words!r}.'
        )
    return [*words]


def put_in(fault: str, params: JsonObject, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Check the times that every action has, then order the fault."""
    lasts_s, within_s = seconds("duration_s", duration_s), seconds("timeout_s", timeout_s)
    from chaosgpu.lease.apply import apply_fault  # noqa: PLC0415 (validation imports every named module)

    return apply_fault(fault, params, duration_s=lasts_s, hosts=hosts, timeout_s=within_s)
