# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry one document to the agent of a host and its answer back: one command over the connection that Ansible has.

Both lie in a private folder. Nothing of them is an argument, a variable or a result of a task: no callback, log or
list of processes sees them.
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The action `chaosgpu_carry`, which has no arguments."""

    TRANSFERS_FILES = False
    _VALID_ARGS: "frozenset[str]" = frozenset()

    def run(self, tmp: Any = None, task_vars: Any = None) -> Any:
        """Send the document of this host and write the answer beside it."""
        result = super().run(tmp, task_vars)
        folder = Path(os.environ["CHAOSGPU_CARRY"])
        order = json.loads((folder / "order.json").read_text())
        number = order["hosts"].get(task_vars["inventory_hostname"])
        if number is None:
            raise AnsibleActionFail("there is no document for this host")
        document = (folder / f"{number}.request").read_bytes()
        done = self._low_level_execute_command(order["command"], in_data=document)
        answer = {"status": done["rc"], "stdout": done["stdout"], "stderr": done["stderr"]}
        unfinished = folder / f"{number}.unfinished"
        unfinished.write_text(json.dumps(answer))
        unfinished.rename(folder / f"{number}.answer")
        result["changed"] = False
        return result
