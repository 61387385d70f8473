# SPDX-License-Identifier: Apache-2.0
"""The work behind the actions of the fleet: each writes its intent, plays, and is put back by `undo_all`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chaosgpu.errors import BadArgument, PlaybookFailed, Refused, Unreachable
from chaosgpu.fleet.arguments import flag, versions, whole
from chaosgpu.fleet.play import Outcome, check_playbook
from chaosgpu.fleet.values import JsonObject, JsonValue, seconds
from chaosgpu.lease.deeds import Settled
from chaosgpu.lease.guarded import guarded_run, refuse_closing
from chaosgpu.lease.hosts import hosts_for, recorded
from chaosgpu.lease.run import Run
from chaosgpu.lifecycle.around import Around, settled_of
from chaosgpu.lifecycle.back import Back, come_back, held_of
from chaosgpu.lifecycle.baseline import take_baseline
from chaosgpu.lifecycle.course import Course
from chaosgpu.lifecycle.ours import our_playbooks
from chaosgpu.lifecycle.own import Own, OwnPlaybooks
from chaosgpu.lifecycle.plan import BACK, Plan, check_drain
from chaosgpu.lifecycle.step import Stage

__all__ = ["Doing", "drained", "pinned", "played", "quarantined", "returned", "rolled_back"]

type Configuration = Mapping[str, object] | None


class Doing:
    """What the actions of a run did to hosts; a deed. Under a lifecycle control that one brings them back."""

    with_rollbacks, rank = True, 1

    def __init__(self, stage: Stage, *, alone: bool) -> None:
        self.stage = stage
        self._alone = alone
        self._backs: dict[str, Back] = {}
        self._on_purpose: dict[str, str] = {}
        self._done: list[str] = []

    def did(self, what: str, found: Mapping[str, Outcome]) -> None:
        """Remember what the experiment has done, for its verdict."""
        self._done.append(what)
        if what == "quarantine":
            self._on_purpose |= {host: one.said for host, one in found.items() if one.ok}

    def put_back(self, by: str) -> None:  # noqa: ARG002 (a deed's)
        """Bring back every host that is not settled."""
        if self._alone:
            run = self.stage.course.run
            self._backs |= {back.host: back for back in come_back(self.stage, held_of(run, self))}

    def settled(self) -> Settled:
        """Say what became of the hosts."""
        left = tuple(f"the experiment has put {host} into quarantine" for host in self._on_purpose)
        found = settled_of(self._backs.values(), (), None)
        return found + Settled(left, done=tuple(dict.fromkeys(self._done)))


def played(  # noqa: PLR0917 (the action names them)
    playbook: object,
    hosts: str,
    variables: object,
    undo_playbook: object,
    no_undo: object,
    check: object,
    timeout_s: float,
    secrets: Mapping[str, JsonValue] | None,
) -> JsonObject:
    """Play a playbook of the user's own."""
    run = guarded_run()
    file = check_playbook(playbook)
    undo = None if undo_playbook is None else check_playbook(undo_playbook, "undo_playbook")
    given = sum((undo is not None, flag("no_undo", no_undo), flag("check", check)))
    if given == 0:
        raise Refused(
            f"{file} was not played: nothing would undo it. Name an undo_playbook; or say check: true, where it is "
            "only to tell what it would do; or no_undo: true, and the run is inconclusive if it changes something."
        )
    if given > 1:
        raise BadArgument("Give one of undo_playbook, no_undo: true and check: true, not several.")
    if variables is not None and not isinstance(variables, dict):
        raise BadArgument(f"variables must be an object, not {variables!r}.")
    within_s = seconds("timeout_s", timeout_s)
    names = hosts_for(run, hosts)
    refuse_closing(run, f"{file.name} was not played on {', '.join(names)}")
    deed = next((deed for deed in run.deeds if isinstance(deed, OwnPlaybooks)), None)
    if deed is None:
        deed = OwnPlaybooks(run)
        run.deeds.append(deed)
    own = Own(deed.next_number, file, names, within_s, undo, bool(check), variables or {})
    return _answer(file.name, deed.play(own, secrets or {}), told=True)


def drained(wanted: object, reason: object, hosts: str, timeout_s: float, configuration: Configuration) -> JsonObject:
    """Take hosts out of service."""
    drain = check_drain(wanted, "drain")
    run, names = _about_to("drain", hosts)
    doing = _doing(run, configuration, ["drain"])
    stage = replace(doing.stage, plan=replace(doing.stage.plan, drain=drain))
    doing.stage = stage  # a quarantine keeps out what was taken
    return _step(doing, stage, "drain", names, _text("reason", reason), timeout_s)


def pinned(
    packages: object, within_s: object, hosts: str, timeout_s: float, configuration: Configuration
) -> JsonObject:
    """Bring packages to their versions and keep them there, until the undo or `within_s`."""
    wanted, lasts_s = versions(packages), whole("within_s", within_s, least=60, most=86400)
    run, names = _about_to("pin", hosts)
    doing = _doing(run, configuration, ["snapshot", "pin"])
    stage = replace(
        doing.stage,
        plan=replace(doing.stage.plan, within_s=lasts_s),
        packages={**doing.stage.packages, **dict.fromkeys(names, wanted)},
    )
    doing.stage = stage
    silent = take_baseline(stage.course, names)
    if silent:
        raise PlaybookFailed("; ".join(f"{host}: {why}" for host, why in silent.items()))
    _step(doing, stage, "snapshot", names, None, timeout_s)
    return _step(doing, stage, "pin", names, None, timeout_s)


def rolled_back(hosts: str | None, allow_reboot: object, timeout_s: float, configuration: Configuration) -> JsonObject:
    """Bring back the packages of hosts that this run has pinned; nothing to do is no failure."""
    run = guarded_run()
    doing = _doing(run, configuration, [])
    stage = replace(doing.stage, plan=replace(doing.stage.plan, allow_reboot=flag("allow_reboot", allow_reboot)))
    lives = doing.stage.course.lives
    names = [host for host in recorded(run, hosts) if host in lives and lives[host].changed]
    return _step(doing, stage, "rollback", names, None, timeout_s, way="back")


def returned(hosts: str | None, timeout_s: float, configuration: Configuration) -> JsonObject:
    """Put hosts back into service that this run has drained; nothing to do is no failure."""
    run = guarded_run()
    doing = _doing(run, configuration, [])
    lives = doing.stage.course.lives
    names = [host for host in recorded(run, hosts) if host in lives and lives[host].drained]
    return _step(doing, doing.stage, "return", names, None, timeout_s, way="back")


def quarantined(reason: object, hosts: str, timeout_s: float, configuration: Configuration) -> JsonObject:
    """Put hosts out of service until a person releases them."""
    run = guarded_run()
    names = hosts_for(run, hosts)
    doing = _doing(run, configuration, [])
    why = _text("reason", reason)
    if why is None:
        raise BadArgument("reason must say why the host is put into quarantine: somebody has to release it.")
    return _step(doing, doing.stage, "quarantine", names, why, timeout_s, way="back")


def _about_to(what: str, hosts: str) -> tuple[Run, tuple[str, ...]]:
    run = guarded_run()
    names = hosts_for(run, hosts)
    refuse_closing(run, f"{what} was not played on {', '.join(names)}")
    return run, names


def _doing(run: Run, configuration: Configuration, steps: Sequence[str]) -> Doing:
    """Return what the actions of this run have done so far; the first one writes down where the playbooks are."""
    folder = our_playbooks(configuration, [*steps, *BACK])
    known = next((deed for deed in run.deeds if isinstance(deed, Doing)), None)
    if known is not None:
        return known
    around = next((deed for deed in run.deeds if isinstance(deed, Around)), None)
    if around is None:
        doing = Doing(Stage(Course(run, run.id), Plan(), folder), alone=True)
        _write_plan(run, folder)
    else:
        doing = Doing(around.stage, alone=False)
    run.deeds.append(doing)
    return doing


def _write_plan(run: Run, folder: Path) -> None:
    """Write what a recovery has to know."""
    plan = Plan().as_json()
    run.ledger.append("lifecycle.planned", drill=run.id, hosts=[], plan=plan, packages={}, playbooks=str(folder))


def _step(  # noqa: PLR0917 (of this file alone)
    doing: Doing,
    stage: Stage,
    step: str,
    names: Sequence[str],
    reason: str | None,
    timeout_s: float,
    way: str = "method",
) -> JsonObject:
    found = stage.play(step, names, way, reason, seconds("timeout_s", timeout_s))
    if names:
        doing.did(step, found)
    return _answer(step, found)


def _answer(what: str, found: Mapping[str, Outcome], *, told: bool = False) -> JsonObject:
    """Return what came of it; raise where it did not go well on a host."""
    failed = {host: one for host, one in found.items() if not one.ok}
    if failed:
        well = [host for host in found if host not in failed]
        reasons = [f"{one.how} on {host}: {one.said or 'no reason given'}" for host, one in failed.items()]
        sentence = f"{what} did not go well. {'; '.join([*([f'ok on {", ".join(well)}'] if well else []), *reasons])}."
        hows = {one.how for one in failed.values()}
        raise (Refused if hows == {"refused"} else Unreachable if hows == {"unreachable"} else PlaybookFailed)(sentence)
    hosts: JsonObject = {
        host: {**one.as_json(), **({"told": one.told} if told and one.told else {})} for host, one in found.items()
    }
    return {"playbook": what, "hosts": hosts}


def _text(name: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise BadArgument(f"{name} must be a text, not {value!r}.")
