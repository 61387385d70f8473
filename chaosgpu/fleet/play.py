# SPDX-License-Identifier: Apache-2.0
"""Play a playbook file on hosts that were chosen before, and say of each what came of it."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from chaosgpu.errors import BadArgument, Refused
from chaosgpu.fleet.ansible.events import Event
from chaosgpu.fleet.ansible.outcome import Outcome, outcome_of
from chaosgpu.fleet.ansible.playbook import private_folder, run_playbook_file
from chaosgpu.fleet.ansible.variables import Template, write_variables
from chaosgpu.fleet.targets import LOCAL, inventory_in_use
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["Outcome", "Playbook", "Template", "check_playbook", "play"]

logger = logging.getLogger("chaostoolkit")

_SAY_EVERY_S = 10.0
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Playbook:
    """A file and what it gets. `ours` are texts as they are, `theirs` templates as with a person's own `-e`."""

    file: Path
    ours: Mapping[str, JsonValue] = field(default_factory=dict)
    theirs: Mapping[str, JsonValue] = field(default_factory=dict)
    # Whether it says of each host by `set_stats`, under `chaosgpu`, what came of it.
    must_tell: bool = False

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return self.file.name


def check_playbook(given: object, what: str = "playbook") -> Path:
    """Check that a playbook is there and return its whole path: the record must lead there from any folder."""
    if not isinstance(given, str) or not given.strip():
        raise BadArgument(f"{what} must name a playbook file, not {given!r}.")
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise BadArgument(f"The {what} {given} is no file here ({Path.cwd()}); nothing was touched.")
    return path


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a playbook file: what was played."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise Refused(f"The playbook {file} could not be read: {error.strerror}; nothing was touched.") from error


def play(playbook: Playbook, hosts: Sequence[str], timeout_s: float, *options: str) -> dict[str, Outcome]:
    """Play it on these hosts, and on no other, within `timeout_s` in all.

    The hosts are names that were chosen or recorded before. This host is played here, without the inventory.
    """
    digest_of(playbook.file)
    here = [host for host in hosts if host == LOCAL]
    others = [host for host in hosts if host != LOCAL]
    if not here or not others:  # in our own thread, where an interruption of the run arrives
        return _played(playbook, hosts, timeout_s, options)
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(_played, playbook, here, timeout_s, options)
        return _played(playbook, others, timeout_s, options) | ours.result()


def _played(playbook: Playbook, hosts: Sequence[str], timeout_s: float, options: Sequence[str]) -> dict[str, Outcome]:
    """Play it on this host alone, or on hosts of the inventory."""
    progress = _Progress(playbook.name, len(hosts))
    with private_folder() as folder:
        # A list in a file: it may be longer than a command line takes.
        (folder / "limit").write_text("".join(f"{host}\n" for host in hosts))
        write_variables(folder / "theirs.yml", playbook.theirs, templates=True)
        ours: dict[str, JsonValue] = {"chaosgpu_hosts": ",".join(hosts), **playbook.ours}
        write_variables(folder / "ours.yml", ours, templates=False)
        words = (f"--limit=@{folder}/limit", "-e", f"@{folder}/theirs.yml", "-e", f"@{folder}/ours.yml", *options)
        sources = _sources(hosts, folder)
        ran = run_playbook_file(sources, playbook.file, folder, timeout_s, *words, on_event=progress.take)
    return {host: outcome_of(host, playbook.name, ran, timeout_s, must_tell=playbook.must_tell) for host in hosts}


def _sources(hosts: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Return what `-i` gets: the user's inventory, or one with this host alone."""
    if list(hosts) == [LOCAL]:
        file = folder / "here.json"
        # As Ansible's own implicit localhost: what it would find on PATH may be none for this folder.
        how: JsonObject = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        here: JsonObject = {"all": {"hosts": {LOCAL: how}}}
        file.write_text(json.dumps(here))
        return (str(file),)
    inventory = inventory_in_use()
    if inventory is None:
        raise BadArgument(
            f"{', '.join(hosts)} cannot be reached without an inventory: name yours as chaosgpu_inventory in the "
            "experiment's configuration, or with --inventory for a command."
        )
    return inventory.sources


class _Progress:
    """Says now and then what a long playbook is doing."""

    def __init__(self, name: str, hosts: int) -> None:
        self._name, self._hosts = name, hosts
        self._said_s = time.monotonic()

    def take(self, event: Event) -> None:
        """Take one event of Ansible."""
        logger.debug("%s: %s %s %s", event.host, self._name, event.task, event.event)
        now_s = time.monotonic()
        if event.task and now_s - self._said_s > _SAY_EVERY_S:
            self._said_s = now_s
            logger.info("  %s on %d hosts: %r has ended on %s", self._name, self._hosts, event.task, event.host)
