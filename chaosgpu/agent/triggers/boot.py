# SPDX-License-Identifier: Apache-2.0
"""Whether what undoes leases at a start of the host is installed: it cannot be shown without a reboot."""

from chaosgpu.agent.install import CRON
from chaosgpu.agent.readings.doctor_triggers import cron_runs
from chaosgpu.agent.triggers.scene import Scene
from chaosgpu.agent.units import CRON_FILE, RECOVER

__all__ = ["why_not_at_boot"]


def why_not_at_boot(scene: Scene, cron: str = CRON) -> str:
    """Return what keeps it from being started; nothing where it is installed, enabled, and starts this agent."""
    command, how = f"{scene.agent.path} tend", f"as root: {scene.agent.path} install-units"
    if scene.systemd is None:
        return _why_not_cron(f"{cron}/{CRON_FILE}", command, how)
    shown = scene.systemd.ask("show", "--property=LoadState,UnitFileState,ExecStart", RECOVER)
    unit = dict(line.partition("=")[::2] for line in shown.splitlines())
    if unit.get("LoadState") != "loaded":
        return f"{RECOVER} is not installed; {how}"
    if not unit.get("UnitFileState", "").startswith("enabled"):
        return f"{RECOVER} is installed and not enabled: systemctl enable {RECOVER}"
    return "" if command in unit.get("ExecStart", "") else f"{RECOVER} does not start {command}; {how}"


def _why_not_cron(path: str, command: str, how: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 (as everywhere in the agent)
            lines = file.read().splitlines()
    except OSError:
        return f"{path} is not installed; {how}"
    if not any(line.startswith("@reboot ") and command in line for line in lines):
        return f"{path} does not start {command} at boot; {how}"
    return "" if cron_runs() else f"{path} is installed, and no cron runs"
