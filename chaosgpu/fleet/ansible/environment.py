# SPDX-License-Identifier: Apache-2.0
"""Which `ansible-playbook` is run, and in which environment: the user's, less what would talk."""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from chaosgpu.errors import Refused

__all__ = ["FOREIGN", "PLUGINS", "environment", "find_playbook_command"]

PLUGINS = Path(__file__).parents[1] / "ansible_plugins"
# Inside AWX and ansible-runner the outer job's callbacks and caches would take our events for its own.
FOREIGN = re.compile(r"ANSIBLE_\w*CALLBACK\w*|ANSIBLE_CACHE_PLUGIN\w*|ANSIBLE_FACT_CACHE\w*|(AWX|TOWER|RUNNER)_\w*")
_OURS = {
    "ANSIBLE_STDOUT_CALLBACK": "chaosgpu_events",
    "ANSIBLE_CALLBACKS_ENABLED": "chaosgpu_events",
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    # These two would write what is carried to the terminal or a log.
    "ANSIBLE_DEBUG": "0",
    "ANSIBLE_KEEP_REMOTE_FILES": "0",
    # These would wait for a person, or change which hosts are asked.
    "ANSIBLE_ENABLE_TASK_DEBUGGER": "0",
    "ANSIBLE_RETRY_FILES_ENABLED": "0",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
}


def find_playbook_command(variables: Mapping[str, str]) -> str:
    """Return the program: beside our own Python, where the extra `fleet` puts it, else the one on PATH."""
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook", path=variables.get("PATH"))
    if found is None:
        raise Refused(
            "Hosts of an inventory are reached with ansible-playbook, which is not installed here: "
            "pip install 'chaostoolkit-gpu[fleet]', or install Ansible and put it on PATH."
        )
    return found


def environment(variables: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the user's environment (SSH agent, ANSIBLE_CONFIG and the rest) with our callback in it."""
    kept = {name: value for name, value in variables.items() if not FOREIGN.fullmatch(name)}
    return (
        kept
        | _OURS
        | {
            "CHAOSGPU_CARRY": str(folder),
            "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS / "callback_plugins"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        }
    )
