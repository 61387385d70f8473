# SPDX-License-Identifier: Apache-2.0
"""gpu.process.kill: end the GPU processes of a service that something named brings back."""

import signal
from dataclasses import dataclass
from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.environment import environment_to_hand_on
from chaosgpu.agent.errors import BadRequest, Unverified
from chaosgpu.agent.faults import proc_table, service
from chaosgpu.agent.faults.contract import Context, Fault, Held, Restored
from chaosgpu.agent.faults.on_gpu import gpu_of, refuse_unhealthy, uuid_in, wait_until
from chaosgpu.agent.faults.restorer import Restorer, parse_restorer
from chaosgpu.agent.process import alive, environment_of
from chaosgpu.agent.say import say
from chaosgpu.agent.values import JsonMapping, JsonObject

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM}
GONE_WITHIN_S = 10.0
BY_ITSELF_WITHIN_S = 1.0  # a supervisor has had the whole time of the fault; this is for one that is just at it


@dataclass(frozen=True)
class KillParams(service.OnService):
    """How to end them, and what brings them back within which time."""

    signal: str
    restorer: Restorer
    back_within_s: float


class ProcessKill(Fault[KillParams]):
    """A crash of the service."""

    name = "gpu.process.kill"
    summary = "Kills the GPU processes of one pid or user; a named unit or command brings the service back."
    plane = "effect"
    tier = "T1"
    fidelity = "restart"
    privilege = "user"
    deadline_class = "slow"
    claimed = "the GPU's processes, the systemd units that they belong to, and the root process of their service"
    refuses = "a process not on the GPU; our own processes; protected units; no restored_by; nobody to bring it back"
    traps = (
        "What was in the process is lost. Killing a Triton stub alone leaves a server that says it is ready and never "
        "starts the stub again. The command of restored_by runs as the service's user and must return by itself."
    )

    def parse(self, raw: JsonMapping) -> KillParams:
        """Read the values alone."""
        values.only(raw, self.name, service.SERVICE_KEYS | {"signal", "restored_by", "back_within_s"})
        on = service.parse_service(raw)
        word = values.text({"signal": raw.get("signal", "KILL")}, "signal")
        if word not in SIGNALS:
            raise BadRequest(f"signal must be KILL or TERM, not {word!r}.")
        within_s = values.number({"back_within_s": raw.get("back_within_s", 30)}, "back_within_s", 1, 600)
        return KillParams(on.gpu, on.pid, on.user, word, parse_restorer(raw), within_s)

    def check(self, params: KillParams, context: Context) -> None:
        """Refuse an ailing GPU, processes that are not ours to touch, and a way back that is none."""
        uuid = uuid_in(gpu_of(params.gpu, context))
        refuse_unhealthy(uuid, context)
        service.protect(service.targets(params, uuid, context, proc_table.look()), context)
        params.restorer.check()

    def claims(self, params: KillParams, context: Context) -> Tuple[str, ...]:
        """Name the GPU's processes, the units that they belong to, and each process."""
        uuid, table = uuid_in(gpu_of(params.gpu, context)), proc_table.look()
        return service.claims(uuid, service.targets(params, uuid, context, table), table)

    def capture(self, params: KillParams, context: Context) -> JsonObject:
        """Note each process, so that it is hit and no other, and its successor is known."""
        uuid, table = uuid_in(gpu_of(params.gpu, context)), proc_table.look()
        meant = service.known(service.targets(params, uuid, context, table), table)
        # What decides which GPUs the service sees, and nothing else of its environment: that may hold secrets.
        environment: JsonObject = {**environment_to_hand_on(environment_of(meant[0].who.pid) or {})}
        return {"uuid": uuid, "killed": [one.to_json() for one in meant], "environment": environment}

    def inject(self, params: KillParams, prior: JsonMapping, context: Context) -> None:  # noqa: ARG002 (contract)
        """Signal exactly these processes."""
        for one in service.recorded(prior, "killed"):
            proc_table.send(one.who, SIGNALS[params.signal])

    def verify(self, params: KillParams, prior: JsonMapping, held: Optional[Held], context: Context) -> JsonObject:  # noqa: ARG002 (contract)
        """See that they have ended, every one."""
        meant = service.recorded(prior, "killed")
        wait_until(lambda: not any(alive(one.who) for one in meant), GONE_WITHIN_S, 0.05, context)
        left = [one.who.pid for one in meant if alive(one.who)]
        if left:
            raise Unverified(f"SIG{params.signal} was sent, but these processes still run: {left}.")
        return {"killed_pids": [one.who.pid for one in meant]}

    def undo(self, params: KillParams, prior: JsonMapping, context: Context) -> None:
        """Give a supervisor its time; if the service is not back then, run what is named."""
        meant, uuid = service.recorded(prior, "killed"), uuid_in(prior)
        if not wait_until(lambda: not service.missing(meant, uuid, context), BY_ITSELF_WITHIN_S, 0.2, context):
            wrong = params.restorer.run(meant[0].user, values.mapping(prior, "environment"))
            if wrong is not None:  # whether the service is back is read all the same, and decides
                say(wrong)

    def restored(self, params: KillParams, prior: JsonMapping, held: Optional[Held], context: Context) -> Restored:  # noqa: ARG002 (contract)
        """See as many like them run as before."""
        meant, uuid = service.recorded(prior, "killed"), uuid_in(prior)
        back = wait_until(lambda: not service.missing(meant, uuid, context), params.back_within_s, 0.2, context)
        missing = service.missing(meant, uuid, context)
        way = " ".join(params.restorer.arguments[:3])
        by_hand = f"The service is not back ({', '.join(missing)} is missing) though {way} was to bring it: start it."
        return Restored(back, {"back": back, "missing": [*missing]}, (), "" if back else by_hand)
