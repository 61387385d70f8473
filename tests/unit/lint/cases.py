# SPDX-License-Identifier: Apache-2.0
"""The table of broken experiments: one thing wrong in each, the rule that names it, and where."""

from dataclasses import dataclass

from unit.lint.writing import PACK, Json, action, clean, hypothesis, probe, python


@dataclass(frozen=True)
class Case:
    sentence: str
    experiment: Json
    rule: str
    pointer: str
    says: str = ""


def _control(provider: Json, **more: object) -> Json:
    return {"name": "a control", "provider": provider} | more


def _process(arguments: object, **more: object) -> Json:
    return {
        "name": "a process",
        "type": "action",
        "provider": {"type": "process", "path": "echo", "arguments": arguments, "timeout": 5} | more,
    }


def _judge(provider: Json) -> Json:
    return {"name": "judge", "type": "probe", "provider": provider}


def _with_tolerance(function: str, tolerance: object, **arguments: object) -> Json:
    return clean(**{"steady-state-hypothesis": hypothesis(probe("p", function, tolerance, **arguments))})


LIFECYCLE: Json = {"type": "python", "module": "chaosgpu.controls.lifecycle"}
TOLERANCE = "/steady-state-hypothesis/probes/0/tolerance"
ARGUMENTS = "/method/0/provider/arguments"

CASES = [
    Case("rollbacks misspelt", clean(rollback=[]), "unknown-key", "/rollback"),
    Case("controls misspelt", clean(controlls=[]), "unknown-key", "/controlls", "'controls'"),
    Case("steady state with underscores", clean(steady_state_hypothesis={}), "unknown-key", "/steady_state_hypothesis"),
    Case("dry at the top", clean(dry="activities"), "unknown-key", "/dry", "--dry activities"),
    Case(
        "probes misspelt in the hypothesis",
        clean(**{"steady-state-hypothesis": {"title": "t", "probs": []}}),
        "unknown-key",
        "/steady-state-hypothesis/probs",
        "'probes'",
    ),
    Case(
        "tolerances in the plural",
        clean(method=[probe("p", "ready") | {"tolerances": True}]),
        "unknown-key",
        "/method/0/tolerances",
        "'tolerance'",
    ),
    Case(
        "argument instead of arguments",
        clean(method=[{"name": "a", "type": "action", "provider": python("everything") | {"argument": {}}}]),
        "unknown-key",
        "/method/0/provider/argument",
    ),
    Case(
        "a time limit on a Python activity",
        clean(method=[action("a", "everything") | {"timeout": 3}]),
        "unknown-key",
        "/method/0/timeout",
        "timeout_s",
    ),
    Case(
        "pause instead of pauses.before",
        clean(method=[action("a", "everything") | {"pauses": {"befor": 1}}]),
        "unknown-key",
        "/method/0/pauses/befor",
        "'before'",
    ),
    Case(
        "an unknown key in a control",
        clean(controls=[_control({"type": "python", "module": "unit.lint.control"}, scop="before")]),
        "unknown-key",
        "/controls/0/scop",
    ),
    Case(
        "strategy under the wrong key",
        clean(runtime={"rollback": {"strategy": "always"}}),
        "unknown-key",
        "/runtime/rollback",
    ),
    Case(
        "an unknown ref in rollbacks",
        clean(rollbacks=[{"ref": "chnge something"}]),
        "unknown-ref",
        "/rollbacks/0/ref",
        "'change something'",
    ),
    Case(
        "a rollback refers to a rollback",
        clean(rollbacks=[action("undo", "everything"), {"ref": "undo"}]),
        "unknown-ref",
        "/rollbacks/1/ref",
    ),
    Case(
        "a reference with a provider of its own",
        clean(rollbacks=[{"ref": "change something", "provider": python("ready")}]),
        "ref-with-more",
        "/rollbacks/0/provider",
    ),
    Case(
        "two activities of one name that is referred to",
        clean(method=[action("twice", "everything"), probe("twice", "ready")], rollbacks=[{"ref": "twice"}]),
        "duplicate-name",
        "/method/1/name",
        "last one",
    ),
    Case(
        "no strategy",
        clean(runtime={"hypothesis": {"strategy": "default"}}),
        "rollback-strategy",
        "/runtime/rollbacks/strategy",
        "site-wide",
    ),
    Case(
        "a weak strategy",
        clean(runtime={"rollbacks": {"strategy": "deviated"}}),
        "rollback-strategy",
        "/runtime/rollbacks/strategy",
        "deviated",
    ),
    Case(
        "a strategy that does not exist",
        clean(runtime={"rollbacks": {"strategy": "allways"}}),
        "rollback-strategy",
        "/runtime/rollbacks/strategy",
    ),
    Case(
        "a hypothesis strategy that does not exist",
        clean(runtime={"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "continuous"}}),
        "hypothesis-strategy",
        "/runtime/hypothesis/strategy",
        "'continuously'",
    ),
    Case(
        "a control that is not there",
        clean(controls=[_control({"type": "python", "module": "unit.lint.contrl"})]),
        "control-lost",
        "/controls/0/provider/module",
        "left out",
    ),
    Case(
        "a control of a type that is not loaded",
        clean(controls=[_control({"type": "pyhton", "module": "unit.lint.control"})]),
        "control-lost",
        "/controls/0/provider/type",
    ),
    Case(
        "a module that is no control",
        clean(controls=[_control({"type": "python", "module": PACK})]),
        "control-lost",
        "/controls/0/provider/module",
    ),
    Case(
        "a control argument that one hook does not take",
        clean(controls=[_control({"type": "python", "module": "unit.lint.control", "arguments": {"quiet": True}})]),
        "control-arguments",
        "/controls/0/provider/arguments/quiet",
        "configure_control",
    ),
    Case(
        "a control argument that is misspelt, at an activity",
        clean(
            method=[
                action("a", "everything")
                | {"controls": [_control({"type": "python", "module": "unit.lint.control", "arguments": {"levl": 2}})]}
            ]
        ),
        "control-arguments",
        "/method/0/controls/0/provider/arguments/levl",
        "'level'",
    ),
    Case(
        "a text where a truth value goes",
        clean(method=[action("a", "everything", flag="yes")]),
        "argument-type",
        f"{ARGUMENTS}/flag",
        "true or false",
    ),
    Case(
        "a text where a number goes",
        clean(method=[probe("p", "ratio", gpu="g", window_s="1")]),
        "argument-type",
        f"{ARGUMENTS}/window_s",
        "a number",
    ),
    Case(
        "a truth value where a whole number goes",
        clean(method=[probe("p", "words", count=True)]),
        "argument-type",
        f"{ARGUMENTS}/count",
    ),
    Case(
        "a fraction where a whole number goes",
        clean(method=[probe("p", "words", count=1.5)]),
        "argument-type",
        f"{ARGUMENTS}/count",
    ),
    Case(
        "a number in a list of texts",
        clean(method=[probe("p", "facts", keys=["a", 1])]),
        "argument-type",
        f"{ARGUMENTS}/keys",
        "a list of a text",
    ),
    Case(
        "an object of the wrong values",
        clean(method=[action("a", "everything", limits={"x": "1"})]),
        "argument-type",
        f"{ARGUMENTS}/limits",
    ),
    Case(
        "a word that is not among the words",
        clean(method=[action("a", "everything", mode="sof")]),
        "argument-type",
        f"{ARGUMENTS}/mode",
        "'hard'",
    ),
    Case(
        "null where a text goes",
        clean(method=[probe("p", "ratio", gpu=None)]),
        "argument-type",
        f"{ARGUMENTS}/gpu",
        "null",
    ),
    Case(
        "a configuration default of the wrong type",
        clean(
            configuration={"n": {"type": "env", "key": "CHAOSGPU_TEST_N", "default": "3"}, "url": "u"},
            method=[probe("p", "words", count="${n}")],
        ),
        "argument-type",
        f"{ARGUMENTS}/count",
        "stands for '3'",
    ),
    Case(
        "an action of this package labelled a probe",
        clean(
            method=[
                {
                    "name": "p",
                    "type": "probe",
                    "provider": {"type": "python", "module": "chaosgpu.lease.actions", "func": "undo_all"},
                }
            ]
        ),
        "wrong-type",
        "/method/0/type",
    ),
    Case("a list of two texts", _with_tolerance("words", ["ok", "degraded"]), "tolerance-range", TOLERANCE, "range"),
    Case("an empty range", _with_tolerance("ratio", [9, 1], gpu="g"), "tolerance-never", TOLERANCE, "[1, 9]"),
    Case(
        "an empty range tolerance",
        _with_tolerance("ratio", {"type": "range", "range": [9, 1]}, gpu="g"),
        "tolerance-never",
        TOLERANCE,
    ),
    Case("an empty list", _with_tolerance("ratio", [], gpu="g"), "tolerance-never", TOLERANCE),
    Case(
        "true for a probe that answers an object",
        _with_tolerance("facts", tolerance=True),
        "tolerance-never",
        TOLERANCE,
    ),
    Case(
        "a text for a probe that answers a number",
        _with_tolerance("ratio", "1.0", gpu="g"),
        "tolerance-never",
        TOLERANCE,
    ),
    Case("a range for a probe that answers an object", _with_tolerance("facts", [1, 2]), "tolerance-fatal", TOLERANCE),
    Case(
        "a range with a target for a plain number",
        _with_tolerance("ratio", {"type": "range", "range": [0, 1], "target": "x"}, gpu="g"),
        "tolerance-fatal",
        TOLERANCE,
        "Remove target",
    ),
    Case(
        "a pattern for a probe that answers a number",
        _with_tolerance("ratio", {"type": "regex", "pattern": "1"}, gpu="g"),
        "tolerance-fatal",
        TOLERANCE,
    ),
    Case(
        "a probe tolerance without arguments",
        _with_tolerance("ratio", _judge({"type": "python", "module": PACK, "func": "ready"}), gpu="g"),
        "tolerance-fatal",
        TOLERANCE,
        "KeyError",
    ),
    Case(
        "a process as tolerance",
        _with_tolerance("ratio", _judge({"type": "process", "path": "true", "arguments": {}, "timeout": 1}), gpu="g"),
        "tolerance-always",
        TOLERANCE,
    ),
    Case(
        "a tolerance in the method",
        clean(method=[probe("p", "ready", tolerance=True)]),
        "tolerance-ignored",
        "/method/0/tolerance",
    ),
    Case(
        "dry as a text in an activity",
        clean(method=[action("a", "everything") | {"dry": "activities"}]),
        "dry",
        "/method/0/dry",
        "for real",
    ),
    Case(
        "process arguments as one text",
        clean(method=[_process("hello; echo bye")]),
        "shell",
        "/method/0/provider/arguments",
    ),
    Case(
        "a process without a time limit",
        clean(method=[_process(["hello"], timeout=None)]),
        "no-timeout",
        "/method/0/provider",
    ),
    Case(
        "a name that is not declared",
        clean(method=[probe("p", "ready", url="${ulr}")]),
        "literal-substitution",
        f"{ARGUMENTS}/url",
        "'url'",
    ),
    Case(
        "a dotted name",
        clean(method=[probe("p", "ready", url="${url.host}")]),
        "literal-substitution",
        f"{ARGUMENTS}/url",
        "Dotted",
    ),
    Case(
        "a name in the range of a tolerance",
        _with_tolerance("words", ["a", "${url}", "c"]),
        "literal-substitution",
        f"{TOLERANCE}/1",
        "stays as it is",
    ),
    Case(
        "a lifecycle with a key that is misspelt",
        clean(configuration={"url": "u", "chaosgpu_lifecycle": {"drian": {}}}, controls=[_control(LIFECYCLE)]),
        "lifecycle-plan",
        "/configuration/chaosgpu_lifecycle",
        "did you mean 'drain'?",
    ),
    Case("an inline secret", clean(secrets={"triton": {"token": "hunter2"}}), "inline-secret", "/secrets/triton/token"),
    Case(
        "a secret among the arguments",
        clean(
            controls=[_control({"type": "python", "module": "unit.lint.control", "arguments": {"api_key": "hunter2"}})]
        ),
        "inline-secret",
        "/controls/0/provider/arguments/api_key",
    ),
    Case(
        "a password in a URL",
        clean(method=[probe("p", "ready", url="http://me:hunter2@127.0.0.1/")]),
        "inline-secret",
        f"{ARGUMENTS}/url",
    ),
    Case(
        "a password in the configuration",
        clean(configuration={"url": "u", "db_password": "hunter2"}),
        "inline-secret",
        "/configuration/db_password",
    ),
    Case(
        "a configuration probe beside secrets",
        clean(configuration={"url": probe("p", "words")}, secrets={"t": {"token": {"type": "env", "key": "HOME"}}}),
        "inline-secret",
        "/configuration/url",
        "every resolved secret",
    ),
]
