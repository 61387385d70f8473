# SPDX-License-Identifier: Apache-2.0
"""Which library's file is meant, checked before anything is asked of a host, and the order of a fault."""

import re

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.arguments import flag, number, package_names, unit_name
from chaosgpu.fleet.values import JsonObject, JsonValue, seconds

__all__ = ["files", "flag", "library_file", "library_name", "names", "number", "put_in", "unit_name"]

_FILE = re.compile(r"/[A-Za-z0-9_./+@~-]*lib[A-Za-z0-9_-]+\.so[0-9.]*")
_NAME = re.compile(r"lib[A-Za-z0-9_-]+\.so[0-9.]*")


def library_file(name: str, path: object) -> str:
    """Check the path of a library's file on the host; which families are taken is told by the agent."""
    if not isinstance(path, str) or not _FILE.fullmatch(path):
        raise BadArgument(
            f"{name} must be the whole path of a library's file on the host, without blanks or colons, such as "
            f"/opt/cuda-11.8/lib64/libcusparse.so.11.7.5.86, not {path!r}."
        )
    return path


def library_name(name: str, value: object) -> str:
    """Check the name that programs ask for."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BadArgument(f"{name} must be the name of a library, such as libcusparse.so.12, not {value!r}.")
    return value


def files(paths: object) -> list[JsonValue]:
    """Check a list of libraries' files that is not empty."""
    if not isinstance(paths, list) or not paths:
        raise BadArgument(f"files must be a list of paths of libraries on the host, not {paths!r}.")
    return [library_file("files", path) for path in paths]


def names(packages: object) -> list[JsonValue]:
    """Check a list of names of packages that is not empty."""
    found = package_names(packages)
    if not found:
        raise BadArgument('packages must name at least one package, such as ["nvidia-open"].')
    return found


def put_in(fault: str, params: JsonObject, duration_s: float, hosts: str, timeout_s: float) -> JsonObject:
    """Check the times that every action has, then order the fault."""
    lasts_s, within_s = seconds("duration_s", duration_s), seconds("timeout_s", timeout_s)
    from chaosgpu.lease.apply import apply_fault  # noqa: PLC0415 (validation imports every named module)

    return apply_fault(fault, params, duration_s=lasts_s, hosts=hosts, timeout_s=within_s)
