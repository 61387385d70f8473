# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry one document to the agent of a host and its answer back: one command over the connection that Ansible has.

Both lie in a private folder. Nothing of them is an argument, a variable or a result of a task: no callback, log or
list of processes sees them.
"""

import json
import os
import time
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
        if "clock" in order:
            answer = self._compared(order["clock"])
        else:
            document = (folder / f"{number}.request").read_bytes()
            done = self._low_level_execute_command(order["command"], in_data=document)
            answer = {"status": done["rc"], "stdout": done["stdout"], "stderr": done["stderr"]}
        unfinished = folder / f"{number}.unfinished"
        unfinished.write_text(json.dumps(answer))
        unfinished.rename(folder / f"{number}.answer")
        result["changed"] = False
        return result

    def _compared(self, wanted: Any) -> Any:
        """Read the host's clock several times and keep the quickest: its error is half of what the reading took."""
        best, said = None, ""
        for _ in range(wanted["tries"]):
            sent_s = time.time()
            done = self._low_level_execute_command("date +%s.%N", sudoable=False)
            back_s = time.time()
            said = (done["stdout"].strip() or done["stderr"].strip())[-200:]
            try:
                there_s = float(said)
            except ValueError:
                break
            half_s = (back_s - sent_s) / 2
            if best is None or half_s < best["error_s"]:
                best = {"ahead_s": there_s - sent_s - half_s, "error_s": half_s}
            if best["error_s"] <= wanted["enough_s"]:
                break
        return {"clock": best, "said": said}
