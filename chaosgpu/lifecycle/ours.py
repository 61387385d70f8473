# SPDX-License-Identifier: Apache-2.0
"""Where our playbooks lie: in the package, or where a site keeps its own."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.playbooks import playbooks_folder

__all__ = ["PLAYBOOKS", "our_playbooks"]

PLAYBOOKS = "chaosgpu_playbooks"


def our_playbooks(configuration: Mapping[str, object] | None, steps: Iterable[str]) -> Path:
    """Return the folder; BadArgument where one of the playbooks that are needed is not in it."""
    given = (configuration or {}).get(PLAYBOOKS)
    if given is not None and (not isinstance(given, str) or not given.strip()):
        raise BadArgument(f"{PLAYBOOKS} must name a folder of playbooks, not {given!r}.")
    folder = playbooks_folder() if given is None else Path(given).expanduser().absolute()
    missing = [f"{step}.yml" for step in steps if not (folder / f"{step}.yml").is_file()]
    if missing:
        raise BadArgument(f"{folder} lacks the playbooks {', '.join(missing)}; nothing was touched.")
    return folder
