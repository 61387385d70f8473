# SPDX-License-Identifier: Apache-2.0
"""Ask the site's own command whether a change may be made now."""

from chaosgpu.drill.command import Run, run_command
from chaosgpu.drill.site import Site
from chaosgpu.errors import ChaosGpuError

__all__ = ["why_no_change"]


def why_no_change(change_id: str | None, site: Site, run: Run = run_command) -> str | None:
    """Return why the site does not let this change be made, or None. No answer is a no."""
    if site.change_check is None:
        return None
    if change_id is None:
        return "This site demands a change_id, and the plan has none: open the change, and name it in the plan."
    command = [word.replace("{change_id}", change_id) for word in site.change_check.command]
    if command == site.change_check.command:
        command.append(change_id)
    try:
        done = run(command, b"", site.change_check.within_s)
    except ChaosGpuError as error:
        return f"The change {change_id} could not be validated: {error}"
    if done.status != 0:
        return f"The change {change_id} is not valid, says {command[0]} (status {done.status}): {done.said}."
    return None
