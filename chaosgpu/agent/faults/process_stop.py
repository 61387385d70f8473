# SPDX-License-Identifier: Apache-2.0
"""gpu.process.stop: freeze a whole service with SIGSTOP, so that it hangs without an error."""

import signal
from typing import List, Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import NoEffect, Refused, Unverified
from chaosgpu.agent.faults import proc_table, service
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import gpu_of, refuse_unhealthy, uuid_in, wait_until
from chaosgpu.agent.faults.proc_table import Process
from chaosgpu.agent.process import Identity, alive
from chaosgpu.agent.values import JsonMapping, JsonObject, JsonValue

ROUNDS = 10  # a service that starts processes faster than we stop them is not stopped
WITHIN_S = 2.0
INTERVAL_S = 0.2


class ProcessStop(Fault[service.OnService]):
    """A hang of the service."""

    name = "gpu.process.stop"
    summary = "Stops the whole service that the GPU processes of one pid or user belong to, and continues it."
    plane = "effect"
    tier = "T1"
    fidelity = "exact"
    privilege = "user"
    claimed = "the GPU's processes, the systemd units of the service, and its root process"
    refuses = "a process not on the GPU; a service that our own processes are part of; protected units"
    traps = (
        "The whole tree is stopped, whatever pid is named: with a Triton stub stopped alone for over a second, the "
        "server gives it up, and continuing it kills the server. A watchdog (WatchdogSec, a health check) may kill or "
        "restart what is stopped. Kernels that were launched run to their end."
    )

    def parse(self, raw: JsonMapping) -> service.OnService:
        """Read the values alone."""
        values.only(raw, self.name, service.SERVICE_KEYS)
        return service.parse_service(raw)

    def check(self, params: service.OnService, context: Context) -> None:
        """Refuse an ailing GPU, and a service that is not ours to touch or is stopped already."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        refuse_unhealthy(uuid, context)
        members = self._members(params, uuid, context)
        service.protect(members, context)
        if all(process.stopped for process in members):
            raise NoEffect(f"All {len(members)} processes of the service are stopped already.")

    def claims(self, params: service.OnService, context: Context) -> Tuple[str, ...]:
        """Name the GPU's processes, the units that the service is, and each process."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        return service.claims(uuid, self._members(params, uuid, context), proc_table.look())

    def capture(self, params: service.OnService, context: Context) -> JsonObject:
        """Note every process of the tree, parents first, and which of them somebody has stopped before."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        members = self._members(params, uuid, context)
        table = proc_table.look()
        known = service.known([process for process in members if process.pid in table], table)
        return {
            "uuid": uuid,
            "tree": [one.to_json() for one in known],
            "roots": [process.pid for process in members if process.parent not in {one.pid for one in members}],
            "stopped_before": [process.pid for process in members if process.stopped],
        }

    def inject(self, params: service.OnService, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Stop parents before their children, and again until nobody new has appeared."""
        for _ in range(ROUNDS):
            running = [process for process in self._tree(prior) if not process.stopped]
            if not running:
                return
            for process in running:
                proc_table.send(process.identity, signal.SIGSTOP)
            context.clock.sleep(0.01)

    def verify(
        self,
        params: service.OnService,  # noqa: ARG002 (contract)
        prior: JsonMapping,
        held: Optional[Held],  # noqa: ARG002 (contract)
        context: Context,
    ) -> JsonObject:
        """See every process of the tree stopped, twice."""

        def running() -> List[int]:
            return [process.pid for process in self._tree(prior) if not process.stopped]

        wait_until(lambda: not running(), WITHIN_S, 0.02, context)
        first = running()
        context.clock.sleep(INTERVAL_S)
        members = self._tree(prior)
        if first or running() or not members:
            raise Unverified(f"SIGSTOP was sent to the service, but of its {len(members)} processes run: {running()}.")
        return {"stopped_pids": [process.pid for process in members]}

    def undo(self, params: service.OnService, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Continue children before their parents, so that none finds its worker unresponsive."""
        for process in reversed(self._to_continue(prior)):
            proc_table.send(process.identity, signal.SIGCONT)

    def restored(
        self,
        params: service.OnService,  # noqa: ARG002 (contract)
        prior: JsonMapping,
        held: Optional[Held],  # noqa: ARG002 (contract)
        context: Context,
    ) -> Restored:
        """See that none is stopped that was not before, and that the service has not been killed meanwhile."""
        wait_until(lambda: not self._to_continue(prior), WITHIN_S, 0.02, context)
        stopped = [process.pid for process in self._to_continue(prior)]
        ended = [one for one in service.recorded(prior, "tree") if not alive(one.who)]
        roots = [one for one in ended if one.who.pid in _pids(prior, "roots")]
        missing = service.missing(roots, uuid_in(prior), context)
        by_hand = []
        if stopped:
            by_hand.append(f"These processes are still stopped; continue them, children first: kill -CONT {stopped}.")
        if missing:
            by_hand.append(f"{missing} ended while stopped (a watchdog?) and nothing has replaced it: start it.")
        shown: JsonObject = {"stopped_pids": [*stopped], "ended_pids": [one.who.pid for one in ended]}
        return Restored(not by_hand, shown, (), " ".join(by_hand))

    def _members(self, params: service.OnService, uuid: str, context: Context) -> List[Process]:
        table = proc_table.look()
        never = proc_table.ours(table)
        found = service.targets(params, uuid, context, table)
        members = proc_table.services([process.pid for process in found], table, never)
        shared = [process.pid for process in members if process.pid in never]
        if shared:
            raise Refused(
                f"The service shares its session or unit with our own processes {shared}: stopping it would stop us. "
                "Start it in a session or unit of its own (setsid, systemd)."
            )
        return members

    def _tree(self, prior: JsonMapping) -> List[Process]:
        """Return the service as it is now, whatever it has started since; nobody who has a reused pid."""
        table = proc_table.look()
        lives = [one.who.pid for one in service.recorded(prior, "tree") if _is(table.get(one.who.pid), one.who)]
        return proc_table.tree(lives, table)

    def _to_continue(self, prior: JsonMapping) -> List[Process]:
        before = _pids(prior, "stopped_before")
        return [process for process in self._tree(prior) if process.stopped and process.pid not in before]


def _is(process: Optional[Process], who: Identity) -> bool:
    return process is not None and process.identity == who


def _pids(prior: JsonMapping, key: str) -> List[JsonValue]:
    pids = prior.get(key)
    return pids if isinstance(pids, list) else []
