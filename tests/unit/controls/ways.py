# SPDX-License-Identifier: Apache-2.0
"""Every way in which Chaos Toolkit loses rollbacks, as a table: research/ctk.md §2, by its ids.

`{folder}` stands for the row's own folder. `loses` names the strategies under which plain Chaos Toolkit leaves the
fault behind: the controls run them without the guard.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, Signals
from typing import Any

from support.chaos import python

type Activity = dict[str, Any]

BOTH = ("default", "always")
_WAITING, _ROLLING = "{folder}/waiting", "{folder}/rolling"


def way(name: str, func: str, **arguments: Any) -> Activity:
    return python(name, func, module="support.ways", **arguments)


def probe(func: str, tolerance: object = True, **arguments: object) -> Activity:
    return {**python("the service", func, kind="probe", module="support.ways", **arguments), "tolerance": tolerance}


@dataclass(frozen=True)
class Way:
    """One row. The fault comes first in the method, and the rollback that mends it last."""

    id: str
    what: str
    method: tuple[Activity, ...] = ()
    rollbacks: tuple[Activity, ...] = ()
    steady: Activity | None = None
    options: tuple[str, ...] = ()
    # Each signal is sent when its mark is there.
    send: tuple[tuple[str, Signals], ...] = ()
    control: Mapping[str, str] | None = None
    # With the guard: strategies that are tried, what the verdict is, whether the fault gets in, whether we kill it.
    strategies: tuple[str, ...] = ("default",)
    verdict: str = "inconclusive"
    gets_in: bool = True
    hangs: bool = False
    # Without the guard.
    loses: tuple[str, ...] = ()


WAIT = python("wait", "wait", seconds=25, mark=_WAITING)
SLOW = python("first of the rollbacks", "wait", seconds=1.5, mark=_ROLLING)
FIRST = way("first of the rollbacks", "holds")
LATER = ("--hypothesis-strategy", "after-method-only")
DURING = ("--hypothesis-strategy", "during-method-only", "--hypothesis-frequency", "0.1")
GONE = python("it will be gone", "act", module="vanishing")
VANISH = way("take a module away", "vanish", gone="vanishing", path="{folder}/vanishing.py")
HANG = {**way("hang", "hangs", mark=_WAITING), "background": True}


def _stop(signal: Signals) -> tuple[tuple[str, Signals], ...]:
    return ((_WAITING, signal),)


WAYS: tuple[Way, ...] = (
    Way("A1", "the gate's probe raises", steady=probe("raises", at_once=True), gets_in=False),
    Way("A2", "the gate's probe is out of tolerance", steady=probe("deviates", at_once=True), gets_in=False),
    Way(
        "A3",
        "a probe after the method raises",
        steady=probe("raises"),
        strategies=BOTH,
        verdict="deviated",
        loses=("default",),
    ),
    Way("A4", "a probe after the method is out of tolerance", steady=probe("deviates"), verdict="deviated"),
    Way("A5", "a tolerance raises", steady=probe("gives_nothing", [0, 2]), loses=BOTH),
    Way(
        "A6",
        "a tolerance raises, a range",
        steady=probe("gives_nothing", {"type": "range", "range": [0, 2]}),
        loses=BOTH,
    ),
    Way(
        "K",
        "during-method-only with fail-fast deviates",
        method=(python("wait", "wait", seconds=1), python("then wait", "wait", seconds=0.2)),
        steady=probe("deviates"),
        options=(*DURING, "--fail-fast"),
        strategies=BOTH,
        loses=("default",),
    ),
    Way("B1", "an action raises", method=(way("raise", "raises"),)),
    Way(
        "B2",
        "a module cannot be imported",
        method=(python("x", "act", module="no.such"),),
        options=("--no-validation",),
    ),
    Way("B2", "a module is gone at run time", method=(VANISH, GONE)),
    Way("B3", "an activity interrupts", method=(way("interrupt", "interrupt"),), strategies=BOTH, loses=("default",)),
    Way(
        "B4", "an activity calls sys.exit", method=(way("leave", "leave", code=0),), strategies=BOTH, loses=("default",)
    ),
    Way("B5", "SystemExit(30)", method=(way("leave", "leave", code=30),), loses=BOTH),
    Way("B5", "SIGUSR2", method=(way("kill", "kill_itself", by="SIGUSR2"),), loses=BOTH),
    Way("B5", "exit_ungracefully", method=(way("leave", "leave_ungracefully"),), loses=BOTH),
    Way("D", "Ctrl-C once", method=(WAIT,), send=_stop(SIGINT), strategies=BOTH, loses=("default",)),
    Way("D", "SIGTERM", method=(WAIT,), send=_stop(SIGTERM), strategies=BOTH, loses=("default",)),
    Way(
        "Q",
        "SIGTERM under except Exception",
        method=(way("swallow", "swallows", seconds=25, mark=_WAITING),),
        send=_stop(SIGTERM),
    ),
    Way("D", "SIGHUP of a lost terminal", method=(WAIT,), send=_stop(SIGHUP), loses=BOTH),
    Way("D", "SIGQUIT", method=(WAIT,), send=_stop(SIGQUIT), loses=BOTH),
    Way("D", "SIGKILL", method=(WAIT,), send=_stop(SIGKILL), hangs=True, loses=BOTH),
    Way("F", "a background activity never returns", method=(HANG,), hangs=True, loses=BOTH),
    Way(
        "F",
        "Ctrl-C while waiting for the background",
        method=(HANG,),
        send=_stop(SIGINT),
        hangs=True,
        loses=("default",),
    ),
    Way("H3", "a rollback hangs", rollbacks=(way("hang", "hangs", at_once=True),), hangs=True, loses=BOTH),
    Way(
        "t13",
        "a continuous probe hangs",
        method=(python("wait", "wait", seconds=0.5),),
        steady=probe("hangs", mark=_WAITING),
        options=DURING,
        hangs=True,
        loses=BOTH,
    ),
    *(
        Way(
            "t13",
            f"a continuous probe hangs, then one {one.name}",
            method=(python("wait", "wait", seconds=0.5),),
            steady=probe("hangs", mark=_WAITING),
            options=DURING,
            send=_stop(one),
            hangs=True,
            loses=BOTH,
        )
        for one in (SIGINT, SIGTERM, SIGUSR1)
    ),
    Way("C1", "a rollback raises", rollbacks=(way("raise", "raises", at_once=True),), verdict="unsafe"),
    Way(
        "C2",
        "a rollback cannot be imported",
        rollbacks=(python("x", "act", module="no.such"),),
        options=("--no-validation",),
        gets_in=False,
        loses=BOTH,
    ),
    Way(
        "C2",
        "a rollback's module is gone at run time",
        method=(VANISH,),
        rollbacks=(GONE,),
        verdict="unsafe",
        loses=BOTH,
    ),
    Way("t13", "a rollback's ref is unknown", rollbacks=({"ref": "nobody"},), gets_in=False, loses=BOTH),
    Way("C3", "a rollback interrupts", rollbacks=(way("interrupt", "interrupt"),), verdict="unsafe", loses=BOTH),
    Way("C4", "a rollback calls sys.exit", rollbacks=(way("leave", "leave", code=0),), verdict="unsafe", loses=BOTH),
    Way("G", "Ctrl-C during a rollback", rollbacks=(SLOW,), send=((_ROLLING, SIGINT),), loses=BOTH),
    Way("G", "SIGTERM during a rollback", rollbacks=(SLOW,), send=((_ROLLING, SIGTERM),), loses=BOTH),
    Way(
        "G",
        "an impatient second Ctrl-C",
        method=(WAIT,),
        rollbacks=(SLOW,),
        send=((_WAITING, SIGINT), (_ROLLING, SIGINT)),
        loses=("always",),
    ),
    *(
        Way(
            "I2",
            f"a control interrupts {where}",
            rollbacks=(FIRST,),
            control={"where": where},
            verdict=verdict,
            loses=BOTH,
        )
        for where, verdict in (
            ("before rollback", "unsafe"),
            ("before activity", "unsafe"),
            ("after activity", "inconclusive"),
        )
    ),
    Way(
        "t8",
        "a safeguard trips during the method",
        method=(way("trip", "trip_when", mark=_WAITING), WAIT),
        strategies=BOTH,
        loses=("default",),
    ),
    Way(
        "t8",
        "a safeguard trips during the rollback",
        method=(way("trip", "trip_when", mark=_ROLLING),),
        rollbacks=(SLOW,),
        verdict="unsafe",
        loses=BOTH,
    ),
    Way("C5", "an output is not JSON", method=(way("give", "no_json"),), verdict="passed"),
    Way("-", "strategy never", strategies=("never",), verdict="passed", loses=("never",)),
    Way("-", "strategy deviated, no deviation", strategies=("deviated",), verdict="passed", loses=("deviated",)),
)
