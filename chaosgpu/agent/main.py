# SPDX-License-Identifier: Apache-2.0
"""The agent's command line: which verb, on which host, answered how. Tests pass their own parts."""

import os
import sys
from dataclasses import dataclass, replace
from typing import BinaryIO, Callable, Mapping, Optional, Sequence, Tuple

from chaosgpu.agent import halt, protocol
from chaosgpu.agent.claims import CLAIMS_DIRECTORY, Claims
from chaosgpu.agent.clock import Clock, SystemClock, current_boot
from chaosgpu.agent.command import installed_command
from chaosgpu.agent.errors import FAULT_BROKE, AgentError, BadRequest, Short, as_agent_error
from chaosgpu.agent.hold import Role, hold
from chaosgpu.agent.home import Home, find_home
from chaosgpu.agent.host import AnyFault, ClosableDriver, Host
from chaosgpu.agent.policy import SYSTEM_POLICY, Policy, read_policy
from chaosgpu.agent.syslog import DEV_LOG, log_verb, operator_of
from chaosgpu.agent.systemd import Systemd, find_systemd
from chaosgpu.agent.values import JsonMapping, JsonObject
from chaosgpu.agent.verbs import CHANGING, VERBS
from chaosgpu.agent.watchdog.choose import choose

__all__ = ["Parts", "main"]


def _no_step(_: str) -> None:
    """Do nothing: only tests look at the steps."""


def _registry() -> Mapping[str, AnyFault]:
    from chaosgpu.agent.faults.registry import REGISTRY  # noqa: PLC0415 (only needed for faults)

    return REGISTRY


def _roles() -> Mapping[str, Role]:
    from chaosgpu.agent.holders import ROLES  # noqa: PLC0415 (only holders need them)

    return ROLES


def _driver(environment: Optional[Mapping[str, str]] = None, library: Optional[JsonMapping] = None) -> ClosableDriver:
    from chaosgpu.agent.driver import ForkedDriver  # noqa: PLC0415 (only needed for GPUs)

    return ForkedDriver(environment, library)


@dataclass(frozen=True)
class Parts:
    """What the agent is made of on a real host; a test's entry script replaces what it must."""

    registry: Callable[[], Mapping[str, AnyFault]] = _registry
    roles: Callable[[], Mapping[str, Role]] = _roles
    new_driver: Callable[..., ClosableDriver] = _driver
    command: Tuple[str, ...] = ()
    claims_directory: str = CLAIMS_DIRECTORY
    system_policy: str = SYSTEM_POLICY
    policy_owner: int = 0
    run_halt: str = halt.RUN_HALT
    dev_log: str = DEV_LOG
    clock: Optional[Clock] = None
    step: Callable[[str], None] = _no_step
    find_systemd: Callable[[], Optional[Systemd]] = find_systemd


def main(
    argv: Sequence[str],
    stdin: BinaryIO,
    stdout: BinaryIO,
    parts: Optional[Parts] = None,
    environment: Optional[Mapping[str, str]] = None,
) -> int:
    """Run one verb and return the exit status: 0 if standard output holds the answer, 1 if it holds an error."""
    parts = Parts() if parts is None else parts
    environment = os.environ if environment is None else environment
    if argv[:1] == ["hold"]:
        return hold(argv[1], stdin, stdout, parts.roles())
    if argv[:1] in (["keep"], ["due"]):
        return _watch(parts, environment, argv[0], argv[1])
    if argv[:1] == ["tend"]:
        return _tend(parts, environment)
    if argv[:1] in (["install-units"], ["remove-units"]):
        from chaosgpu.agent.install import install_units  # noqa: PLC0415 (once in a host's life)

        return install_units(argv, parts.command or installed_command(), find_home(environment, os.getuid()))
    name = os.uname().nodename
    verb = " ".join(argv)
    request: JsonObject = {}
    operator = "unknown"
    try:
        if verb not in VERBS:
            raise BadRequest(f"The agent has no verb {verb!r}; it has: {', '.join(sorted(VERBS))}.")
        request = protocol.read_request(stdin)
        run, keys = VERBS[verb]
        protocol.check_keys(request, verb, keys)
        protocol.arm(request)
        operator = operator_of(request, environment, os.getuid())
        if verb in CHANGING:
            log_verb(parts.dev_log, verb, operator, request, "asked")
        home = find_home(environment, os.getuid())
        answer = protocol.answer(run(request, _host(parts, environment, home, operator)))
        outcome = "done"
    except AgentError as error:
        answer, outcome = protocol.error_answer(error, name), f"failed:{error.kind}"
    except FAULT_BROKE as error:
        told = as_agent_error(error, f"The verb {verb}")
        if not isinstance(told, Short):
            sys.excepthook(type(error), error, error.__traceback__)
            told = AgentError(f"{told} This is a mistake in the agent.")
        answer, outcome = protocol.error_answer(told, name), f"failed:{told.kind}"
    log_verb(parts.dev_log, verb, operator, request, outcome)
    protocol.write(stdout, answer)
    return 1 if "error" in answer else 0


def _watch(parts: Parts, environment: Mapping[str, str], verb: str, path: str) -> int:
    """Be the keeper or the reverter of one lease."""
    from chaosgpu.agent.stops.watcher import Watcher  # noqa: PLC0415 (as below)
    from chaosgpu.agent.watchdog.due import due  # noqa: PLC0415 (only they need it)
    from chaosgpu.agent.watchdog.keep import keep  # noqa: PLC0415 (as above)

    leases, lease = os.path.split(path)
    home = Home(os.path.dirname(leases), "CHAOSGPU_AGENT_HOME" in environment)  # noqa: PTH120 (as above)
    host = _host(parts, environment, home, verb)
    status = keep(replace(host, stopped=Watcher(host)), lease) if verb == "keep" else due(host, lease)
    log_verb(parts.dev_log, verb, "keeper" if verb == "keep" else "timer", {"lease": lease}, "done")
    return status


def _tend(parts: Parts, environment: Mapping[str, str]) -> int:
    """Sweep because a timer, the boot or cron says so; nothing is logged where nothing was to do."""
    from chaosgpu.agent.watchdog.tend import tend  # noqa: PLC0415 (only they need it)

    try:
        return tend(_host(parts, environment, find_home(environment, os.getuid()), "sweep"))
    except AgentError as error:
        sys.stderr.write(f"{error.kind}: {error}\n")
        return 1


def _host(parts: Parts, environment: Mapping[str, str], home: Home, operator: str) -> Host:
    clock = parts.clock or SystemClock()
    command = parts.command or installed_command()

    def policy() -> Policy:
        if home.limited:
            return read_policy(f"{home.path}/policy.json", None)
        return read_policy(parts.system_policy, parts.policy_owner)

    return Host(
        name=os.uname().nodename,
        home=home,
        environment=environment,
        clock=clock,
        boot=current_boot(),
        claims=Claims(parts.claims_directory, clock),
        deadline=choose(command, clock, home),
        command=command,
        faults=parts.registry,
        new_driver=parts.new_driver,
        read_policy=policy,
        halt_files=(home.halt, parts.run_halt),
        operator=operator,
        step=parts.step,
        find_systemd=parts.find_systemd,
    )
