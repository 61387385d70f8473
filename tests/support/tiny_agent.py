# SPDX-License-Identifier: Apache-2.0
"""A small agent that breaks one flag file, and can be told to misbehave: what a real agent must never do.

`python tiny_agent.py FOLDER VERB`, one JSON object in and one out. The parameter `mode` of its one fault `tiny.flag`
says how it behaves: ok, unverified, refused, stuck, vanishes (not verified again), forgets, lost_reply, garbage.
"""

import fcntl
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

Json = dict[str, object]


class TinyAgent:
    """Leases in one JSON file, the broken thing is a file beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flag = folder / "broken"

    def load(self) -> dict[str, Json]:
        store = self.folder / "leases.json"
        return json.loads(store.read_text()) if store.exists() else {}

    def save(self, leases: dict[str, Json]) -> None:
        unfinished = self.folder / f"leases.{os.getpid()}"
        unfinished.write_text(json.dumps(leases))
        unfinished.replace(self.folder / "leases.json")

    def answer(self, verb: str, request: Json) -> Json:
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if verb == "keep":
            os.close(lock)
            return self.keep(str(request["lease"]))
        answer = getattr(self, verb)(request)
        os.close(lock)
        if verb == "apply" and self.mode(request) == "lost_reply":
            time.sleep(60)
        return {"protocol": 1, **answer}

    def mode(self, request: Json) -> str:
        params = request.get("params")
        return str(params.get("mode", "ok")) if isinstance(params, dict) else "ok"

    def apply(self, request: Json) -> Json:
        mode, name, leases = self.mode(request), str(request["lease"]), self.load()
        if mode == "refused":
            return {"error": {"kind": "claimed", "message": "localhost: the flag is held by another lease."}}
        if leases.get(name, {}).get("state") == "tombstone":
            return {"error": {"kind": "refused", "message": "localhost: this lease was undone before it came."}}
        lease: Json = {
            "lease": name,
            "run": request["run"],
            "fault": request["fault"],
            "mode": mode,
            "state": "active",
            "deadline": time.monotonic() + float(str(request["ttl_s"])),
            "ended_by": None,
            "approval": request.get("approval"),
            "change_id": request.get("change_id"),
        }
        leases[name] = lease
        self.save(leases)
        self.start_keeper(name)
        if mode == "unverified":
            self.revert(name, "unverified")
            return {"error": {"kind": "unverified", "message": "localhost: the flag could not be seen."}}
        self.flag.write_text(name)
        if mode == "forgets":
            self.save({})
        observed: Json = {} if mode == "sees_nothing" else {"flag": True, "used_mib": 512}
        return {
            "host": "localhost",
            "lease": name,
            "run": request["run"],
            "fault": request["fault"],
            "state": "active",
            "claims": ["tiny:flag"],
            "plane": "effect",
            "tier": "T1",
            "fidelity": "exact",
            "prior": {"flag": False},
            "granted": {"change_id": request["change_id"]} if "change_id" in request else {},
            "observed": observed,
            "expires_in_s": request["ttl_s"],
            "boottime_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        }

    def start_keeper(self, name: str) -> None:
        keeper = subprocess.Popen(
            [sys.executable, __file__, str(self.folder), "keep"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if keeper.stdin is not None:
            keeper.stdin.write(json.dumps({"lease": name}).encode())
            keeper.stdin.close()
        keeper.returncode = 0  # it outlives us on purpose: no warning at our end

    def keep(self, name: str) -> Json:
        while True:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT)
            fcntl.flock(lock, fcntl.LOCK_EX)
            lease = self.load().get(name)
            if lease is None or lease["state"] != "active":
                return {}
            if time.monotonic() >= float(str(lease["deadline"])):
                self.revert(name, "deadline")
                return {}
            os.close(lock)
            time.sleep(0.05)

    def revert(self, name: str, by: str) -> Json:
        leases = self.load()
        lease = leases.setdefault(name, {"lease": name, "run": "", "fault": "", "mode": "ok", "state": "tombstone"})
        clean = lease["state"] == "clean"
        if lease["state"] == "active":
            clean = lease["mode"] != "stuck"
            lease |= {"ended_by": by, "state": "clean" if clean else "stuck"}
            if clean:
                self.flag.unlink(missing_ok=True)
        self.save(leases)
        return {
            **lease,
            "restored": {"flag": False} if clean else {},
            "left_alone": [],
            "reason": "the flag will not come down; remove it by hand" if lease["state"] == "stuck" else None,
        }

    def undo(self, request: Json) -> Json:
        if "lease" in request:
            return {"leases": [self.revert(str(request["lease"]), "undo")]}
        names = [name for name, lease in self.load().items() if request.get("all") or lease["run"] == request["run"]]
        return {"leases": [self.revert(name, "undo") for name in names]}

    def list(self, request: Json) -> Json:
        leases = [lease for lease in self.load().values() if request.get("run") in (None, lease["run"])]
        verified = {"leases": [{**lease, "verified": self.seen(lease)} for lease in leases]}
        return {**(verified if request.get("verify") else {"leases": leases}), "halted": self.halted()}

    def halted(self) -> Json | None:
        halt = self.folder / "halt"
        return {"by": "tester", "reason": halt.read_text(), "at": "now"} if halt.exists() else None

    def seen(self, lease: Json) -> bool | None:
        return lease["mode"] != "vanishes" and lease["state"] == "active"

    def record(self, request: Json) -> Json:
        del request
        return {"history": [{"state": "active", "at": "host time"}]}

    def facts(self, request: Json) -> Json:
        del request
        return {"host": "localhost", "gpus": [{"uuid": "GPU-tiny", "index": 0, "name": "Tiny GPU"}]}

    def service_status(self, request: Json) -> Json:
        del request
        drained = self.folder / "drained-localhost"
        state, drill = ("drained", drained.read_text()) if drained.exists() else ("in service", None)
        return {"host": "localhost", "state": state, "drill": drill, "quarantine": None}

    def read(self, request: Json) -> Json:
        values = self.facts_of_the_fleet() if request["reading"] == "fleet.facts" else self.values()
        return {"reading": request["reading"], "host": "localhost", "values": values, "unknown": {}}

    def facts_of_the_fleet(self) -> Json:
        """Return what the file `facts.json` says of this host."""
        facts = self.folder / "facts.json"
        return json.loads(facts.read_text()) if facts.exists() else {}

    def values(self) -> Json:
        """Return what its readings have; the file `residue` names the lease that left something, or `this run`."""
        left = self.folder / "residue"
        whose = left.read_text() if left.exists() else ""
        names = [*self.load()] if whose == "this run" else [whose] if whose else []
        what = {"kind": "claim.ended", "what": "a claim stayed", "where": "/claim", "owner": "ours", "by_hand": "rm it"}
        return {"processes": [], "findings": [{**what, "lease": name} for name in names]}


if __name__ == "__main__":
    _, where, *words = sys.argv
    asked = "_".join(words)
    # A controller whose disk is full in a test hands its limit down; the host's disk is another one.
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    document = json.loads(sys.stdin.read())
    if asked == "apply" and document["params"].get("mode") == "garbage":
        sys.stderr.write("Traceback: something broke, password=hunter2hunter2\n")
        sys.stdout.write("not json")
        sys.exit(1)
    said = TinyAgent(Path(where)).answer(asked, document)
    sys.stdout.write(json.dumps(said))
    sys.exit(1 if "error" in said else 0)
