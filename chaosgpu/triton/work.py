# SPDX-License-Identifier: Apache-2.0
"""What the activities do once their arguments are checked; kept apart so that importing them stays cheap."""

import logging
import random
import time
from collections.abc import Mapping
from pathlib import Path

from chaosgpu.errors import AnswerWrong, BadArgument, ChaosGpuError, NotRestored, Unreachable
from chaosgpu.fleet.values import JsonObject, seconds
from chaosgpu.triton import api, canary, override, progress, watch
from chaosgpu.triton.agree import Node, asked_alike
from chaosgpu.triton.golden import write_golden
from chaosgpu.triton.http import TooSlow, service_address
from chaosgpu.triton.known import known_answer

__all__ = [
    "compared",
    "healthy",
    "hung_or_not",
    "latency_s",
    "learned",
    "load",
    "model_ready",
    "overridden",
    "ready_after",
    "restored",
    "share_right",
    "unload",
    "verdict",
    "waiting",
    "watched",
]

logger = logging.getLogger("chaostoolkit")

type Configuration = Mapping[str, object] | None

_RUNS_MOST = 1000
_NODES_LEAST = 2
_CANARY_WITHIN_S = 5.0
_ASK_MEMORY_S = 10.0
_HEALTH_WITHIN_S = 5.0
_POLL_S = 0.2
_ROUTINE = random.SystemRandom()


def healthy(url: str, path: str, timeout_s: float) -> bool:
    """Ask a health endpoint; a server that does not answer is not healthy, and the log says why."""
    service_address(url)
    try:
        return api.health(url, path, seconds("timeout_s", timeout_s))
    except Unreachable as error:
        logger.warning("%s", error)
        return False


def model_ready(url: str, model: str, timeout_s: float) -> bool:
    """Ask whether a model is ready; a name that the repository does not hold is an error, not an unready model."""
    ready = healthy(url, f"{api.model_path(model)}/ready", timeout_s)
    if not ready and healthy(url, "/v2/health/live", timeout_s) and api.model_state(url, model, timeout_s) is None:
        raise BadArgument(f"Triton at {url} has no model {model!r} in its repository; check the name.")
    return ready


def ready_after(url: str, model: str, within_s: float) -> float:
    """Wait until a model says that it is ready, and return how long that took; Unreachable where it did not."""
    service_address(url)
    path, limit_s, started = f"{api.model_path(model)}/ready", seconds("within_s", within_s), time.monotonic()
    why = "it said no"
    while (left_s := limit_s - (time.monotonic() - started)) > 0:
        try:
            if api.health(url, path, min(left_s, _HEALTH_WITHIN_S)):
                return round(time.monotonic() - started, 3)
            why = "it said no"
        except (Unreachable, TooSlow) as error:
            why = str(error)
        time.sleep(_POLL_S)
    raise Unreachable(f"{model} at {url} was not ready within {limit_s:g} s; the last time {why}")


def verdict(url: str, model: str, within_s: float, golden: str | None, configuration: Configuration) -> canary.Verdict:
    """Ask the canary once; what is not right is logged with its reason."""
    service_address(url)
    api.model_path(model)
    known = known_answer(golden, configuration, model)
    found = canary.ask(url, known, seconds("within_s", within_s), _ROUTINE)
    if not found.right:
        logger.warning("Canary of %s at %s is not right: %s", model, url, found.why)
    return found


def latency_s(url: str, model: str, within_s: float, golden: str | None, configuration: Configuration) -> float:
    """Return the seconds of a right answer."""
    found = verdict(url, model, within_s, golden, configuration)
    if not found.right:
        raise AnswerWrong(f"The canary of {model} at {url} has no latency, since it is not right: {found.why}.")
    return found.latency_s


def share_right(
    url: str, model: str, within_s: float, golden: str | None, configuration: Configuration, *, asks: object
) -> float:
    """Ask the canary several times, each over a connection of its own, and return the share that was right."""
    if isinstance(asks, bool) or not isinstance(asks, int) or not 1 <= asks <= _RUNS_MOST:
        raise BadArgument(f"asks must be a whole number from 1 to {_RUNS_MOST}, not {asks!r}.")
    service_address(url)
    api.model_path(model)
    known, within_s = known_answer(golden, configuration, model), seconds("within_s", within_s)
    found = [canary.ask(url, known, within_s, _ROUTINE) for _ in range(asks)]
    reasons = sorted({one.why for one in found if one.why is not None})
    for why in reasons:
        logger.warning("Canary of %s at %s was not right each time: %s", model, url, why)
    return sum(one.right for one in found) / asks


def compared(urls: object, model: str, within_s: float, golden: str | None) -> list[Node]:
    """Ask several nodes the same; which of them differs from the first is logged with the reason."""
    if not isinstance(urls, list) or len(urls) < _NODES_LEAST or len(set(map(str, urls))) < len(urls):
        raise BadArgument(f"urls must be a list of at least two addresses, each once, not {urls!r}.")
    for url in urls:
        service_address(url)
    api.model_path(model)
    known = None if golden is None else known_answer(golden, None, model)
    nodes = asked_alike(urls, model, seconds("within_s", within_s), known, _ROUTINE)
    for node in nodes:
        if node.why is not None:
            logger.warning("%s at %s answers otherwise than at %s: %s", model, node.url, urls[0], node.why)
    return nodes


def learned(url: str, model: str, path: object, runs: object, timeout_s: float) -> JsonObject:
    """Learn the known answer and write it."""
    api.model_path(model)
    if isinstance(runs, bool) or not isinstance(runs, int) or not 1 < runs <= _RUNS_MOST:
        raise BadArgument(f"runs must be a whole number from 2 to {_RUNS_MOST}, not {runs!r}.")
    if not isinstance(path, str) or not path:
        raise BadArgument(f"path must be the file to write, not {path!r}.")
    golden = canary.learn(url, model, runs, seconds("timeout_s", timeout_s))
    write_golden(golden, Path(path))
    spread: JsonObject = dict(golden.spread)
    compared = sorted({tensor.name for case in golden.cases for tensor in case.outputs})
    return {"path": path, "model": model, "runs": runs, "compared": list(compared), "spread": spread}


def waiting(url: str, model: str, metrics_url: str | None, timeout_s: float) -> int:
    """Count waiting requests."""
    api.model_path(model)
    return progress.pending(url, model, metrics_url, seconds("timeout_s", timeout_s))


def hung_or_not(url: str, model: str, window_s: float, metrics_url: str | None, timeout_s: float) -> JsonObject:
    """Measure progress over a window."""
    api.model_path(model)
    found = progress.measure(
        url,
        model,
        metrics_url,
        window_s=seconds("window_s", window_s),
        within_s=seconds("timeout_s", timeout_s),
        sleep=time.sleep,
    )
    return {"completed": found.completed, "pending": found.pending, "hung": found.hung}


def watched(
    url: str,
    model: str,
    gpu: str,
    *,
    duration_s: float,
    interval_s: float,
    within_s: float,
    hosts: str,
    golden: str | None,
    metrics_url: str | None,
    configuration: Configuration,
) -> JsonObject:
    """Watch for a while and sum it up."""
    service_address(url)
    known = known_answer(golden, configuration, model)
    within = seconds("within_s", within_s)
    one = watch.Watch(url, metrics_url, known, within, lambda: watch.read_vram(gpu, hosts, _ASK_MEMORY_S), _ROUTINE)
    path = watch.series_file(model)
    span, interval = seconds("duration_s", duration_s), seconds("interval_s", interval_s)
    if path is None:
        return watch.summary(one.run(span, interval, None), None)
    with path.open("x") as series:
        return watch.summary(one.run(span, interval, series), path)


def _bounded(timeout_s: float) -> float:
    if seconds("timeout_s", timeout_s) > override.LONGEST_LOAD_S:
        raise BadArgument(f"timeout_s of a load must be at most {override.LONGEST_LOAD_S:g}, not {timeout_s!r}.")
    return float(timeout_s)


def load(url: str, model: str, timeout_s: float) -> JsonObject:
    """Load a model and see it ready."""
    override.guarded()
    api.load(url, model, _bounded(timeout_s))
    override.wait_for_state(url, model, loaded=True, timeout_s=timeout_s)
    return {"model": model, "state": "READY"}


def unload(url: str, model: str, timeout_s: float) -> JsonObject:
    """Unload a model and see it gone."""
    override.guarded()
    within = _bounded(timeout_s)
    before = api.model_state(url, model, within)
    api.unload(url, model, within)
    override.wait_for_state(url, model, loaded=False, timeout_s=within)
    return {"model": model, "state": "unloaded", "before": before}


def overridden(
    url: str, model: str, patch: object, timeout_s: float, *, golden: str | None, configuration: Configuration
) -> JsonObject:
    """Override a model's configuration; the canary's verdict afterwards is told, not judged."""
    if not isinstance(patch, dict) or not patch:
        raise BadArgument(f"patch must be an object of the configuration values to change, not {patch!r}.")
    path = override.saved_path(model)
    changed = override.apply_override(url, model, patch, path, _bounded(timeout_s))
    return {
        "model": model,
        "changed": list(changed),
        "saved": str(path),
        "canary": _verdict_if_known(url, model, golden, configuration),
    }


def restored(url: str, model: str, timeout_s: float, golden: str | None, configuration: Configuration) -> JsonObject:
    """Put the saved configuration back and see it in force, by reading it and by the canary."""
    differed = override.restore(url, model, override.saved_path(model), _bounded(timeout_s))
    found = _verdict_if_known(url, model, golden, configuration)
    if found is not None and found["right"] is not True:
        raise NotRestored(
            f"The configuration of {model} at {url} is back, but its canary is not right: {found['why']}."
        )
    return {"model": model, "restored": list(differed), "canary": found}


def _verdict_if_known(url: str, model: str, golden: str | None, configuration: Configuration) -> JsonObject | None:
    try:
        known = known_answer(golden, configuration, model)
    except BadArgument:
        if golden is not None:
            raise
        return None
    try:
        return canary.ask(url, known, _CANARY_WITHIN_S, _ROUTINE).to_json()
    except ChaosGpuError as error:
        return {"right": None, "why": str(error)}
