# SPDX-License-Identifier: Apache-2.0
"""unit.gpu.deny: one unit can no longer open its GPU's device nodes, as after a lost device rule; others can."""

import errno
from dataclasses import dataclass
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed, NoEffect, Refused, Unverified
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import GPU_KEYS, Gpu, gpu_of, parse_gpu, uuid_in
from chaosgpu.agent.faults.on_unit import UNIT_KEYS, OnUnit, claim_of, parse_unit, systemd_of, unit_of
from chaosgpu.agent.faults.unit_devices import Node, nvidia_nodes, permitted, tried
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_life import Before, Life, back_within, mark, marked
from chaosgpu.agent.faults.unit_state import members
from chaosgpu.agent.values import JsonMapping, JsonObject

INTERVAL_S = 0.3
_CONTROL = "/dev/null"  # every policy of ours permits it: who cannot open it proves nothing
_DENIED = "denied"


@dataclass(frozen=True)
class DenyParams(OnUnit):
    """Which unit, one GPU or all of them, and how long the unit may take to be back if it does not bear it."""

    gpu: Optional[Gpu]
    back_within_s: float


class UnitGpuDeny(Fault[DenyParams]):
    """A device rule that is gone, as daemon-reload does to some containers."""

    name = "unit.gpu.deny"
    summary = "Denies one systemd service the device nodes of its GPU, or all of NVIDIA's; other units keep them."
    plane = "effect"
    tier = "T1"
    fidelity = "exact"
    privilege = "root"
    claimed = "the unit, by its canonical name"
    refuses = (
        "a unit that is not active or cannot open the nodes now (PrivateDevices=, a policy of its own); a host without "
        "such nodes or without the unified hierarchy; unit files that somebody changed and did not load; the host's "
        "own and protected units"
    )
    traps = (
        "Descriptors that are open already keep working: a server that holds its GPU feels it when it opens the node "
        "anew, which for most is at its next start or for a new worker. With `gpu`, /dev/nvidiactl and the nodes of "
        "other GPUs stay permitted. It is a drop-in and a daemon-reload, which fires timers of others early. "
        "DeviceAllow= can only permit: while it is in force a device of a kind that the kernel has not known before is "
        "denied, too. Where systemd cannot load BPF programs it says yes and denies nothing: that is found, and the "
        "fault is unverified."
    )

    def parse(self, raw: JsonMapping) -> DenyParams:
        """Read the values alone."""
        values.only(raw, self.name, UNIT_KEYS | GPU_KEYS | {"back_within_s"})
        gpu = None if raw.get("gpu") is None else parse_gpu(raw)
        return DenyParams(parse_unit(raw), gpu, back_within(raw))

    def check(self, params: DenyParams, context: Context) -> None:
        """Refuse a unit that has no use of the nodes now, and a host where a reload would do more than this."""
        state = unit_of(params, context)
        if not state.active or not members(state):
            raise NoEffect(f"{state.id} is {state.text('ActiveState')} and has no process: nobody would be denied.")
        if state.frozen:
            raise Refused(f"{state.id} is frozen, so nobody could see what it can open: thaw it first.")
        refuse_pending_edits(systemd_of(context))
        paths = [node.path for node in _nodes(params, context)]
        if not [path for path, code in tried(state, paths).items() if code != errno.EPERM]:
            raise NoEffect(f"{state.id} cannot open {', '.join(paths)} as it is: nothing would change.")

    def claims(self, params: DenyParams, context: Context) -> Tuple[str, ...]:
        """Name the unit."""
        return (claim_of(unit_of(params, context)),)

    def capture(self, params: DenyParams, context: Context) -> JsonObject:
        """Note which nodes it can open now, what its policy is, and the whole drop-in that is to come."""
        state = unit_of(params, context)
        nodes = _nodes(params, context)
        codes = tried(state, [node.path for node in nodes])
        allowed = permitted(state, nodes)
        lines = ["[Service]", "DevicePolicy=strict", "DeviceAllow=", *(f"DeviceAllow={entry}" for entry in allowed)]
        return {
            **Before.of(state).to_json(),
            "nodes": [path for path, code in codes.items() if code != errno.EPERM],
            "device_policy": state.text("DevicePolicy"),
            "drop_in": drop_in_for(state.id, self.name, lines, context).to_json(),
        }

    def inject(self, params: DenyParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Put the drop-in in; the reload puts it in force on the running unit."""
        mark(context, _DENIED)
        _drop_in(prior).put(systemd_of(context))

    def verify(self, params: DenyParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """Read the policy back, and try each node from inside the unit: no permission, twice."""
        life, paths = _life(params, prior, context), _paths(prior)
        state = life.now()
        for pause_s in (0.0, INTERVAL_S):
            context.clock.sleep(pause_s)
            state = life.now()
            codes = tried(state, [*paths, _CONTROL])
            opened = [path for path in paths if codes[path] != errno.EPERM]
            if state.text("DevicePolicy") != "strict" or opened or codes[_CONTROL] != 0:
                raise Unverified(
                    f"systemd took the policy for {state.id} and shows it as {state.text('DevicePolicy')}, but from "
                    f"inside the unit {', '.join(opened) or 'even ' + _CONTROL} "
                    f"{'can still be opened' if opened else 'cannot be opened'}. Where systemd cannot load BPF "
                    "programs it denies nothing."
                )
        return {"denied": [*paths], "device_policy": state.text("DevicePolicy"), "main_pid": state.main_pid}

    def undo(self, params: DenyParams, prior: JsonMapping, context: Context) -> None:
        """Take the drop-in away if it is ours; then bring back a unit that did not bear it."""
        life = _life(params, prior, context)
        _drop_in(prior).take_away(life.systemd)
        if marked(context, _DENIED):
            life.revive()

    def restored(self, params: DenyParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See the drop-in gone, and each node opened again from inside the unit."""
        life, drop_in = _life(params, prior, context), _drop_in(prior)
        settled = life.settled() if marked(context, _DENIED) else Restored(clean=True, values={})
        state = life.now()
        runs = state.active and not state.frozen and members(state)  # a frozen unit would freeze whoever tries
        codes = tried(state, _paths(prior)) if runs else {}
        shut = sorted(path for path, code in codes.items() if code == errno.EPERM)
        return drop_in.judged(settled, life.systemd, f"{state.id} cannot open {', '.join(shut)}" if shut else "")


def _nodes(params: DenyParams, context: Context) -> List[Node]:
    every = nvidia_nodes()
    if params.gpu is None:
        if not every:
            raise Refused("There are no nodes /dev/nvidia* on this host, so there is nothing to deny.")
        return every
    uuid = uuid_in(gpu_of(params.gpu, context))
    path = context.driver.call("device_node", uuid)
    found = [node for node in every if node.path == path]
    if not found:
        raise DriverFailed(f"GPU {uuid} should have the node {path}, and this host has none there.")
    return found


def _drop_in(prior: JsonMapping) -> DropIn:
    return DropIn.from_json(values.mapping(prior, "drop_in"))


def _paths(prior: JsonMapping) -> List[str]:
    found = prior.get("nodes")
    return [str(path) for path in found] if isinstance(found, list) else []


def _life(params: DenyParams, prior: JsonMapping, context: Context) -> Life:
    return Life(Before.from_json(prior), params.back_within_s, systemd_of(context), context)
