# SPDX-License-Identifier: Apache-2.0
"""A plan of one power cap on test hosts, for an hour around one instant, which somebody else has approved."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chaosgpu.drill.approval import sign
from chaosgpu.drill.planfile import read
from support.chaos import GUARD, UNDO_ALL, python
from support.drills import People

__all__ = ["CHANGE_ID", "EXPERIMENT", "capped", "now", "write_plan"]

CHANGE_ID = "CHG-7"
EXPERIMENT = "cap.json"
_ZONE = "Asia/Kolkata"  # half an hour beside every whole one: a timer in another zone would be seen


def now() -> dt.datetime:
    """Return the time in the plan's zone."""
    return dt.datetime.now(dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))


def capped(gpu: str, hosts: str = "localhost", probed: str = "localhost", **configuration: object) -> dict[str, Any]:
    """Return the experiment: the hosts are capped while one of them is probed."""
    module, at = "chaosgpu.gpu.probes", {"gpu": gpu, "hosts": probed}
    reachable = python("it answers", "gpu_is_reachable", kind="probe", module=module, **at)
    module, at = "chaosgpu.gpu.actions", {"gpu": gpu, "hosts": hosts}
    cap = python("cap", "cap_power", module=module, watts=300, duration_s=20, timeout_s=60, **at)
    return {
        "title": "a power cap", "description": "a power cap", "configuration": configuration,
        "controls": [GUARD], "method": [cap],
        "steady-state-hypothesis": {"title": "it answers", "probes": [{**reachable, "tolerance": True}]},
        "rollbacks": [UNDO_ALL],
        "runtime": {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "default"}},
    }  # fmt: skip


def write_plan(
    folder: Path, drill: str, experiment: Mapping[str, Any], at: dt.datetime, hosts: Mapping[str, object]
) -> tuple[Path, People]:
    """Write plan, experiment, approval and the file of who may sign into a folder."""
    people = People(folder, ("alice@lab", "bob@lab"))
    text = json.dumps(experiment)
    (folder / EXPERIMENT).write_text(text)
    file = {"file": EXPERIMENT, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    opens, closes = at - dt.timedelta(hours=1), at + dt.timedelta(hours=1)
    document = {
        "drill": drill, "title": "A power cap on one GPU", "scope": "bench", "level": 1, "operator": "alice@lab",
        "change_id": CHANGE_ID, "hosts": dict(hosts), "faults": ["gpu.power.cap"], "longest_fault_s": 60,
        "experiments": [{**file, "deadline_minutes": 3, "undo_minutes": 2}],
        "window": {
            "time_zone": _ZONE, "first": f"{opens:%Y-%m-%d}", "last": f"{opens:%Y-%m-%d}", "opens": f"{opens:%H:%M}",
            "closes": f"{closes:%H:%M}",
        },
        "schedule": {"at": f"{at:%H:%M}"}, "approvals": {"needed": 1, "valid_until": f"{at:%Y-%m-%d}"},
    }  # fmt: skip
    path = folder / f"{drill}.yaml"
    path.write_text(yaml.safe_dump(document))
    (folder / "site.yaml").write_text("evidence: evidence\ndrills: drills\nallowed_signers: allowed_signers\n")
    sign(read(path), folder / "bob@lab", "bob@lab")
    return path, people
