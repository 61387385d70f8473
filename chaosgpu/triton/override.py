# SPDX-License-Identifier: Apache-2.0
"""Change a model's configuration and put it back: save first, load with the change, look whether it is there.

Triton answers 200 to a load that did nothing, and a plain load does not take an override back (research/serving.md
§1.2). So the way back is a load with the saved configuration, and only the configuration read again counts.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from chaosgpu.errors import BadArgument, FaultUnverified, NotRestored, Refused
from chaosgpu.fleet.values import JsonMapping, JsonObject, JsonValue
from chaosgpu.triton import api
from chaosgpu.triton.http import TooSlow

__all__ = [
    "LONGEST_LOAD_S",
    "apply_override",
    "guarded",
    "missing",
    "patched",
    "restore",
    "saved_path",
    "wait_for_state",
]

# A load that takes longer is most likely wedged for ever (research/serving.md §1.3, "load wedge").
LONGEST_LOAD_S = 30.0
_ASK_S = 5.0
_POLL_S = 0.05


def patched(configuration: JsonMapping, patch: JsonMapping) -> JsonObject:
    """Return the configuration with the patch in it: objects are merged, everything else is replaced."""
    merged = dict(configuration)
    for key, value in patch.items():
        before = merged.get(key)
        merged[key] = patched(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def missing(found: JsonValue, wanted: JsonValue, where: str = "") -> list[str]:
    """List what of `wanted` is not in `found`. Triton writes 64-bit numbers as text, so numbers compare as text."""
    if isinstance(wanted, dict):
        inside = found if isinstance(found, dict) else {}
        return [lack for key, value in wanted.items() for lack in missing(inside.get(key), value, f"{where}.{key}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [lack for at, value in enumerate(wanted) for lack in missing(found[at], value, f"{where}[{at}]")]
    same = found == wanted or (_number_text(found) is not None and _number_text(found) == _number_text(wanted))
    return [] if same else [where.removeprefix(".") or "the whole"]


def _number_text(value: JsonValue) -> str | None:
    return None if isinstance(value, (bool, dict, list)) or value is None else str(value)


def guarded() -> None:
    """Refuse to act outside a guarded run: nobody would put the service back."""
    from chaosgpu.lease.run import current_run  # noqa: PLC0415 (validation imports every named module)

    current_run()


def saved_path(model: str) -> Path:
    """Return where this run keeps the configuration of a model as it was; raises NoGuard outside a guarded run."""
    from chaosgpu.lease.run import current_run  # noqa: PLC0415 (validation imports every named module)

    api.model_path(model)
    return current_run().directory / "triton" / f"{model}.config.json"


def _save(path: Path, configuration: JsonObject) -> None:
    """Write the configuration before the change; one that is there already is the older and the right one."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(configuration, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _load(url: str, model: str, timeout_s: float, configuration: JsonObject) -> None:
    try:
        api.load(url, model, timeout_s, json.dumps(configuration))
    except TooSlow as error:
        raise NotRestored(
            f"{error} A load that hangs is not ended by anything but a restart of Triton (SIGKILL); "
            f"the model {model} may still answer with its old configuration."
        ) from error


def apply_override(url: str, model: str, patch: JsonObject, path: Path, timeout_s: float) -> list[str]:
    """Save, load with the patch, verify: the changed paths. What was not seen to change is put back at once."""
    before = api.config(url, model, _ASK_S)
    changed = missing(before, patch)
    if not changed:
        raise Refused(f"The configuration of {model} at {url} has these values already; the override would do nothing.")
    _save(path, before)
    _load(url, model, timeout_s, patched(before, patch))
    lacking = missing(api.config(url, model, _ASK_S), patch)
    if lacking:
        _load(url, model, timeout_s, before)
        raise FaultUnverified(
            f"Triton at {url} took the load of {model} and did not change {', '.join(lacking)}; "
            "the saved configuration was loaded again.",
            "unverified",
        )
    return changed


def restore(url: str, model: str, path: Path, timeout_s: float) -> list[str]:
    """Load the saved configuration and see it in force: the paths that differed. Nothing saved is nothing to do."""
    if not path.exists():
        return []
    try:
        saved: JsonObject = json.loads(path.read_text())
    except ValueError as error:
        raise NotRestored(f"The saved configuration {path} cannot be read; restore {model} by hand.") from error
    differed = missing(api.config(url, model, _ASK_S), saved)
    _load(url, model, timeout_s, saved)
    lacking = missing(api.config(url, model, _ASK_S), saved)
    if lacking:
        raise NotRestored(
            f"The configuration of {model} at {url} still differs in {', '.join(lacking)} "
            f"after its saved one was loaded; unload and load the model by hand, then compare with {path}."
        )
    path.replace(path.with_name(f"{model}.config.restored.json"))
    return differed


def wait_for_state(
    url: str, model: str, *, loaded: bool, timeout_s: float, now: Callable[[], float] = time.monotonic
) -> None:
    """Wait until the repository's index says that the model is loaded, or is not."""
    deadline = now() + timeout_s
    state: str | None = None
    while now() < deadline:
        state = api.model_state(url, model, _ASK_S)
        if state is None:
            raise BadArgument(f"Triton at {url} has no model {model!r} in its repository; check the name.")
        word = state.split()[0]
        if (word == "READY") is loaded and word not in ("LOADING", "UNLOADING"):
            return
        time.sleep(_POLL_S)
    raise Refused(
        f"The model {model} at {url} is {state} after {timeout_s:g} s. A model that holds a request which never ends, "
        "or whose process died, may stay so: then only a restart of Triton helps."
    )
