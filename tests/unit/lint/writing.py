# SPDX-License-Identifier: Apache-2.0
"""Experiments for the tests: a clean one, and ways to change one thing of it."""

import copy
import json

Json = dict[str, object]

PACK = "unit.lint.pack"


def python(function: str, **arguments: object) -> Json:
    """Return a python provider of the tests' own extension."""
    return {"type": "python", "module": PACK, "func": function, "arguments": arguments}


def probe(name: str, function: str, tolerance: object = None, **arguments: object) -> Json:
    """Return a probe of the tests' own extension."""
    activity: Json = {"name": name, "type": "probe", "provider": python(function, **arguments)}
    return activity if tolerance is None else activity | {"tolerance": tolerance}


def action(name: str, function: str, **arguments: object) -> Json:
    """Return an action of the tests' own extension."""
    return {"name": name, "type": "action", "provider": python(function, **arguments)}


def clean(**changed: object) -> Json:
    """Return an experiment that has nothing wrong, with some of its top-level keys replaced."""
    experiment: Json = {
        "title": "A clean experiment",
        "description": "Nothing is wrong with it.",
        "tags": ["level-1"],
        "configuration": {"url": {"type": "env", "key": "CHAOSGPU_TEST_URL", "default": "http://127.0.0.1:1"}},
        "runtime": {"rollbacks": {"strategy": "always"}, "hypothesis": {"strategy": "default"}},
        "steady-state-hypothesis": {
            "title": "It answers",
            "probes": [probe("it is ready", "ready", tolerance=True, url="${url}", within_s=2)],
        },
        "method": [action("change something", "everything", flag=True)],
        "rollbacks": [action("put it back", "everything", flag=False)],
    }
    return copy.deepcopy(experiment | changed)


def hypothesis(*probes: Json) -> Json:
    """Return a hypothesis with these probes."""
    return {"title": "It answers", "probes": list(probes)}


def as_text(experiment: Json) -> str:
    """Return the experiment as JSON text, one value a line."""
    return json.dumps(experiment, indent=1)
