# SPDX-License-Identifier: Apache-2.0
"""Units that are not touched, a systemd that says yes and does nothing, and an undo without a fault."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.files import AGENT
from bench.hosts import Host
from bench.unit_cases import CASES
from bench.units import ETC, LOOP, drop_ins, order, put, shown, take_away

UNIT = "meant.service"
FAULTS = tuple(case.fault for case in CASES)
REFUSED = [
    ("unit.stop", "stopped", "no_effect", "is inactive already"),
    ("unit.kill", "stopped", "no_effect", "nothing to kill"),
    ("unit.freeze", "stopped", "no_effect", "nothing to freeze"),
    ("unit.gpu.deny", "stopped", "no_effect", "nobody would be denied"),
    ("unit.gpu.hide", "stopped", "no_effect", "nothing to restart"),
    ("unit.stop", "masked", "refused", "is masked"),
    ("unit.stop", "missing", "refused", "no working unit"),
    ("unit.stop", "needed", "refused", "would go down, too: needy.service"),
    ("unit.freeze", "watched", "refused", "WatchdogSec=1h"),
    ("unit.freeze", "frozen", "no_effect", "frozen already"),
    ("unit.gpu.deny", "private", "no_effect", "cannot open"),
    ("unit.gpu.hide", "blind", "no_effect", "already"),
    ("unit.gpu.hide", "edited", "refused", "not loaded yet (meant.service)"),
]


@pytest.fixture
def clean(host: Host) -> Iterator[Host]:
    """Take the units away afterwards."""
    yield host
    host.agent("undo", {"all": True}, timeout_s=120)
    host.run(["systemctl", "unmask", "--quiet", UNIT])
    take_away(host, UNIT, "needy.service")


def _prepare(host: Host, how: str) -> None:
    service = {
        "watched": f"{LOOP}\nWatchdogSec=1h",
        "private": f"{LOOP}\nDevicePolicy=strict\nDeviceAllow=/dev/null rw",
        "blind": f"{LOOP}\nEnvironment=CUDA_VISIBLE_DEVICES=-1",
    }
    if how != "missing":
        put(host, UNIT, service.get(how, LOOP), start=how not in ("stopped", "masked"))
    if how == "masked":
        host.run(["sh", "-c", f"rm {ETC}/{UNIT}; ln -s /dev/null {ETC}/{UNIT}; systemctl daemon-reload"], check=True)
    if how == "needed":
        put(host, "needy.service", LOOP, f"Requires={UNIT}\nAfter={UNIT}")
    if how == "frozen":
        host.run(["systemctl", "freeze", UNIT], check=True)
    if how == "edited":
        host.run(["sh", "-c", f"sleep 1.1; echo '# edited' >> {ETC}/{UNIT}"], check=True)


@pytest.mark.parametrize(("fault", "how", "kind", "sentence"), REFUSED, ids=[f"{row[0]}-{row[1]}" for row in REFUSED])
def test_it_is_refused_and_nothing_is_touched(fault: str, how: str, kind: str, sentence: str, clean: Host) -> None:
    _prepare(clean, how)
    before = shown(clean, UNIT, "InvocationID", "ActiveState", "FreezerState", "DropInPaths")
    answer = clean.agent("apply", order(fault, UNIT), timeout_s=60)
    assert answer["error"]["kind"] == kind, answer
    assert sentence in answer["error"]["message"]
    assert shown(clean, UNIT, "InvocationID", "ActiveState", "FreezerState", "DropInPaths") == before
    assert drop_ins(clean) == []


@pytest.mark.parametrize("unit", ["ssh.service", "dbus.service", "systemd-journald.service"])
def test_what_holds_the_host_together_is_never_touched(unit: str, clean: Host) -> None:
    for fault in FAULTS:
        answer = clean.agent("apply", order(fault, unit))
        assert "is never touched" in answer["error"]["message"], answer


def test_the_unit_that_we_run_in_is_never_touched(clean: Host) -> None:
    asked = json.dumps({"protocol": 1, **order("unit.freeze", "runner.service")})
    said = clean.run(["systemd-run", "--quiet", "--wait", "--pipe", "--unit=runner", AGENT, "apply"], asked, 60)
    assert "We run in runner.service ourselves" in json.loads(said.stdout)["error"]["message"]


def test_a_unit_that_the_policy_protects_is_never_touched(clean: Host) -> None:
    put(clean, UNIT)
    policy = "/etc/chaosgpu/policy.json"
    kept = clean.run(["cat", policy], check=True).stdout
    protecting = {**json.loads(kept), "protected": {"units": ["meant"], "gpus": []}}
    try:
        clean.run(["sh", "-c", f"cat > {policy}"], json.dumps(protecting), check=True)
        assert clean.agent("apply", order("unit.stop", UNIT))["error"]["kind"] == "forbidden"
        narrow = {**json.loads(kept), "permit": ["unit.gpu.*"]}
        clean.run(["sh", "-c", f"cat > {policy}"], json.dumps(narrow), check=True)
        assert "does not permit unit.stop" in clean.agent("apply", order("unit.stop", UNIT))["error"]["message"]
    finally:
        clean.run(["sh", "-c", f"cat > {policy}"], kept, check=True)


# As the lease machine calls a fault, with a systemd that says yes to everything and does nothing ("lying"), or with
# nothing put in at all ("idle").
_STEPS = """
import sys, json
sys.path.insert(0, sys.argv[1])
from dataclasses import dataclass
from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import Unverified
from chaosgpu.agent.faults import unit_gpu_hide, unit_kill, unit_stop
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.registry import REGISTRY
from chaosgpu.agent.systemd import Systemd, find_systemd

unit_stop.DOWN_WITHIN_S = unit_kill.GONE_WITHIN_S = unit_gpu_hide.UP_WITHIN_S = 1.0

class Lying(Systemd):
    def ask(self, *words, within_s=None):
        does = words[0] in ("stop", "kill", "freeze", "restart", "daemon-reload")
        return "" if does else super().ask(*words, within_s=within_s)

real = find_systemd()
systemd = Lying(real.systemctl, real.systemd_run, real.version) if sys.argv[3] == "lying" else real
found = {}
for name in sys.argv[4:]:
    fault, context = REGISTRY[name], Context(ForkedDriver({}), SystemClock(), find_systemd=lambda: systemd)
    params = fault.parse({"unit": sys.argv[2]})
    fault.check(params, context)
    prior = fault.capture(params, context)
    try:
        if sys.argv[3] == "lying":
            fault.inject(params, prior, context)
        found[name] = ["seen", str(fault.verify(params, prior, None, context))]
    except Unverified as error:
        found[name] = ["unverified", str(error)]
    fault.undo(params, prior, context)
    found[name].append(fault.restored(params, prior, None, context).clean)
print(json.dumps(found))
"""


@pytest.mark.parametrize("how", ["lying", "idle"])
def test_a_systemd_that_does_nothing_is_found_out_and_an_undo_without_a_fault_changes_nothing(
    how: str, clean: Host
) -> None:
    put(clean, UNIT)
    before = shown(clean, UNIT, "InvocationID", "ActiveState", "FreezerState", "DropInPaths", "NRestarts")
    said = clean.run(["python3", "-", AGENT, UNIT, how, *FAULTS], _STEPS, 120, check=True)
    found: dict[str, Any] = json.loads(said.stdout)
    assert {name: (what, clean_again) for name, (what, _, clean_again) in found.items()} == dict.fromkeys(
        FAULTS, ("unverified", True)
    )
    assert shown(clean, UNIT, "InvocationID", "ActiveState", "FreezerState", "DropInPaths", "NRestarts") == before
    assert drop_ins(clean) == []


def test_a_probe_reads_a_unit_and_does_not_take_a_missing_one_for_down(clean: Host) -> None:
    put(clean, UNIT)
    values = clean.agent("read", {"reading": "unit.state", "params": {"unit": UNIT}})["values"]
    assert (values["active"], values["restarts"], values["freezer_state"]) == (True, 0, "running")
    missing = clean.agent("read", {"reading": "unit.state", "params": {"unit": "nobody.service"}})
    assert (missing["values"], list(missing["unknown"])) == ({}, ["active"])
