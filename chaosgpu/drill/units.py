# SPDX-License-Identifier: Apache-2.0
"""The systemd units of a schedule, as text.

A missed start is never made up for (Persistent=false): a drill at another time is not the one that was approved. The
second pair of units writes down what was missed, once an hour and after each start of the machine.
"""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from chaosgpu.drill.planfile import Written
from chaosgpu.errors import BadArgument

__all__ = ["ENVIRONMENT", "MISSED", "units_of", "write_units"]

ENVIRONMENT = "/etc/chaosgpu/drills.env"
MISSED = "chaosgpu-drills-missed"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# systemd ends a service that hangs after its own time; the drill's end and undo come before that.
_GRACE_S = 300


def units_of(written: Written, command: Sequence[str], settings: Path, user: str | None) -> dict[str, str]:
    """Return each unit's name and text; BadArgument for a plan without a schedule."""
    plan = written.plan
    if plan.schedule is None:
        raise BadArgument(f"The plan of {plan.drill} has no schedule: give it one, such as schedule: {{at: '09:30'}}.")
    days = plan.schedule.days or plan.window.days
    on = "" if len(days) == len(_DAYS) else ",".join(day.capitalize() for day in days) + " "
    words = [*command, "drill"]
    given = ["--settings", str(settings)]
    name = f"chaosgpu-drill-{plan.drill}"
    longest = dt.timedelta(seconds=plan.longest_s)
    # The address of a webhook and the like, which are secrets and no part of a plan.
    who = f"EnvironmentFile=-{ENVIRONMENT}\n" + ("" if user is None else f"User={user}\n")
    return {
        f"{name}.service": _HEAD.format(about=f"Drill {plan.drill}: {_one_line(plan.title)}")
        + f"After=network-online.target time-sync.target\nWants=network-online.target\n\n[Service]\nType=oneshot\n{who}"
        f"WorkingDirectory={_path(written.path.parent)}\n"
        f"ExecStart={_words([*words, *given, 'run', str(written.path), '--scheduled'])}\n"
        f"TimeoutStartSec={longest.total_seconds() + _GRACE_S:.0f}\nTimeoutStopSec={_GRACE_S}\nKillMode=mixed\n",
        f"{name}.timer": _HEAD.format(about=f"When drill {plan.drill} starts")
        + f"\n[Timer]\nOnCalendar={on}*-*-* {plan.schedule.at}:00 {plan.window.time_zone}\nAccuracySec=1s\n"
        "Persistent=false\n\n[Install]\nWantedBy=timers.target\n",
        f"{MISSED}.service": _HEAD.format(about="Write down the drills that should have run and did not")
        + f"\n[Service]\nType=oneshot\n{who}WorkingDirectory={_path(written.path.parent)}\n"
        f"ExecStart={_words([*words, *given, 'schedule', '--check'])}\nTimeoutStartSec=600\n",
        f"{MISSED}.timer": _HEAD.format(about="When missed drills are looked for")
        + "\n[Timer]\nOnBootSec=2min\nOnCalendar=hourly\nRandomizedDelaySec=60\n\n[Install]\nWantedBy=timers.target\n",
    }


def write_units(folder: Path, units: dict[str, str]) -> None:
    """Write them; BadArgument where the folder takes none."""
    try:
        for name, text in units.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadArgument(f"The units could not be written to {folder}: {error.strerror}.") from error


_HEAD = "# SPDX-License-Identifier: Apache-2.0\n# Written by: chaosgpu drill schedule\n[Unit]\nDescription={about}\n"


def _words(words: Sequence[str]) -> str:
    """Quote words as systemd reads them (systemd.service(5), COMMAND LINES)."""
    return " ".join('"' + _escaped(word).replace("$", "$$") + '"' for word in words)


def _path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _escaped(word: str) -> str:
    if "\n" in word:
        raise BadArgument(f"{word!r} has a line break, which no unit can hold: name it otherwise.")
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("%", "%%")
