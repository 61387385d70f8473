# SPDX-License-Identifier: Apache-2.0
"""What a stand-in playbook does to a host that is a folder: `stand_in.py STEP HOST DRILL REASON PACKAGES`.

The folder is $TINY_AGENT. A file `fail-STEP` or `fail-STEP-HOST` in it lets a step fail with what it says, `hang-STEP`
lets it hang; `breaks-STEP` lets it do half and fail.
"""

import json
import os
import sys
import time
from pathlib import Path

step, host, drill, reason, packages = sys.argv[1:]
folder = Path(os.environ["TINY_AGENT"])
with (folder / "steps").open("a") as file:
    file.write(f"{step} {host}\n")
for name in (f"fail-{step}", f"fail-{step}-{host}"):
    if (folder / name).exists():
        sys.exit((folder / name).read_text())
if (folder / f"hang-{step}").exists():
    (folder / "hanging").touch()
    time.sleep(float((folder / f"hang-{step}").read_text()))
facts, kept = folder / "facts.json", folder / "kept.json"


def hold(state: str) -> None:
    """Let the tiny agent have the pin as a lease."""
    store = folder / "leases.json"
    leases = json.loads(store.read_text()) if store.exists() else {}
    name = f"lifecycle-{drill}-pin"
    lease = {
        "lease": name,
        "run": f"lifecycle-{drill}",
        "fault": "package.install",
        "mode": "ok",
        "deadline": 1e18,
        "ended_by": None,
    }
    store.write_text(json.dumps({**leases, name: {**lease, "state": state}}))


if step == "drain":
    (folder / f"drained-{host}").write_text(drill)
elif step == "snapshot":
    kept.write_bytes(facts.read_bytes())
elif step == "pin":
    hold("active")
    facts.write_text(json.dumps({"driver": {"package": json.loads(packages)["nvidia-open"]}}))
elif step == "rollback" and (folder / "lies-rollback").exists():
    hold("clean")
elif step == "rollback" and kept.exists():
    hold("clean")
    facts.write_bytes(kept.read_bytes())
elif step == "return":
    (folder / f"drained-{host}").unlink(missing_ok=True)
elif step == "quarantine":
    (folder / f"quarantine-{host}").write_text(reason)
if (folder / f"breaks-{step}").exists():
    sys.exit("it broke halfway")
