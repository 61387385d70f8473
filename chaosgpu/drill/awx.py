# SPDX-License-Identifier: Apache-2.0
"""The schedule of a plan as data for AWX, in the form of infra.aap_configuration, like playbooks/awx."""

import datetime as dt
from typing import TYPE_CHECKING

import yaml

from chaosgpu.drill.planfile import Written
from chaosgpu.errors import BadArgument

if TYPE_CHECKING:
    from chaosgpu.fleet.values import JsonObject

__all__ = ["awx_schedules"]

TEMPLATE = "GPU planned drill"
_BY_DAY = {"mon": "MO", "tue": "TU", "wed": "WE", "thu": "TH", "fri": "FR", "sat": "SA", "sun": "SU"}


def awx_schedules(written: Written, organization: str, file: str) -> str:
    """Return YAML with the schedule of a plan; `file` is the plan's place in the project."""
    plan = written.plan
    if plan.schedule is None:
        raise BadArgument(f"The plan of {plan.drill} has no schedule: give it one, such as schedule: {{at: '09:30'}}.")
    zone, first = plan.window.time_zone, plan.window.first
    days = ",".join(_BY_DAY[day] for day in plan.schedule.days or plan.window.days)
    at = plan.schedule.at.replace(":", "")
    # AWX takes UNTIL in UTC only where DTSTART has a zone; the day after is beyond any zone's last start.
    until = f"{plan.window.last + dt.timedelta(days=1):%Y%m%d}T235959Z"
    rules = [f"DTSTART;TZID={zone}:{first:%Y%m%d}T{at}00", f"RRULE:FREQ=WEEKLY;INTERVAL=1;BYDAY={days};UNTIL={until}"]
    schedule: JsonObject = {
        "name": f"Drill {plan.drill}",
        "organization": organization,
        "unified_job_template": TEMPLATE,
        "rrule": " ".join(rules),
        "extra_data": {"chaosgpu_plan": file, "chaosgpu_plan_sha256": written.sha256},
        "enabled": True,
    }
    head = f"# {plan.title}\n# A blackout of the plan needs no rule here: the drill refuses itself and says so.\n"
    return "---\n" + head + yaml.safe_dump({"controller_schedules": [schedule]}, sort_keys=False, width=130)
