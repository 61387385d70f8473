# SPDX-License-Identifier: Apache-2.0
"""Probes of a Triton server: liveness as everyone checks it, and truth."""

from typing import Any

__all__ = [
    "answers_agree",
    "canary",
    "canary_is_right",
    "canary_latency_s",
    "canary_share",
    "compare_answers",
    "learn_canary",
    "model_is_ready",
    "pending_count",
    "progress",
    "ready_after_s",
    "server_is_live",
    "server_is_ready",
    "watch",
]


def server_is_live(url: str, timeout_s: float = 5) -> bool:
    """Ask Triton's live endpoint. It stays true while a model hangs or its process is dead: compare with the canary.

    {"name": "the server is live", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "server_is_live", "arguments": {"url": "http://127.0.0.1:8000"}}}

    url: http://HOST:PORT. timeout_s: seconds for the whole answer.
    False where no right answer comes, with the reason in the log. Raises BadArgument for a url that is none.
    """
    from chaosgpu.triton import work  # noqa: PLC0415 (validation imports every named module)

    return work.healthy(url, "/v2/health/live", timeout_s)


def server_is_ready(url: str, timeout_s: float = 5) -> bool:
    """Ask Triton's ready endpoint: the plain health check. It says nothing about whether inference works.

    {"name": "the plain health check", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "server_is_ready", "arguments": {"url": "http://127.0.0.1:8000"}}}

    url: http://HOST:PORT. timeout_s: seconds for the whole answer.
    False where no right answer comes, with the reason in the log. Raises BadArgument for a url that is none.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.healthy(url, "/v2/health/ready", timeout_s)


def model_is_ready(url: str, model: str, timeout_s: float = 5) -> bool:
    """Ask whether Triton says that a model is ready. It says so too while the model's process is dead.

    {"name": "chat is ready", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "model_is_ready",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    url: http://HOST:PORT. model: its name. timeout_s: seconds for each answer.
    False for a model that is not loaded. Raises BadArgument for a model that the repository does not hold.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.model_ready(url, model, timeout_s)


def ready_after_s(url: str, model: str, within_s: float = 60) -> float:
    """Wait until Triton says that a model is ready, after a restart for example, and return the seconds that it took.

    {"name": "it serves again", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "ready_after_s",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "within_s": 120}}}

    url: http://HOST:PORT. model: its name. within_s: seconds after which it is given up.
    Raises Unreachable where it was not ready by then, with what was said last. Ready is not right: ask the canary.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.ready_after(url, model, within_s)


def canary_is_right(
    url: str,
    model: str,
    within_s: float = 2,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> bool:
    """Tell whether a model gives the known answer to known inputs in time: sixteen inputs, compared element by element.

    {"name": "canary is right and under 2 s", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "canary_is_right",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "within_s": 2}}}

    url: http://HOST:PORT. model: its name. within_s: seconds for the whole exchange. golden: the file that
    `learn_canary` wrote; else configuration `chaosgpu_canary`, else $CHAOSGPU_CANARY.
    A wrong, late or missing answer, and a model that is not loaded, are False with the reason in the log.
    Raises BadArgument for an unknown model or no known answer, ReadingUnknown where a response cache would answer.
    Thresholds: tolerance is 4 times the largest spread while learning, at least 1e-5 relative for FP32, 1e-3 for
    FP16, 1e-2 for BF16; sixteen inputs find 95 % of single-bit weight flips (measured, see docs/triton.md).
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.verdict(url, model, within_s, golden, configuration).right


def canary(
    url: str,
    model: str,
    within_s: float = 2,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the canary found: the same question as `canary_is_right`, with the reason and the figures.

    {"name": "what the canary says", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "canary",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    Arguments and errors as `canary_is_right`.
    Returns {"right", "why", "latency_s", "max_difference", "compared"}; `compared` counts the values looked at.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.verdict(url, model, within_s, golden, configuration).to_json()


def canary_latency_s(
    url: str,
    model: str,
    within_s: float = 10,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> float:
    """Return the seconds that the right answer of the canary took.

    {"name": "canary latency", "type": "probe", "tolerance": {"type": "range", "range": [0, 2]},
     "provider": {"type": "python", "module": "chaosgpu.triton.probes", "func": "canary_latency_s",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    Arguments as `canary_is_right`. Raises AnswerWrong where the answer is not right: that has no latency.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.latency_s(url, model, within_s, golden, configuration)


def canary_share(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    model: str,
    asks: int = 20,
    within_s: float = 2,
    golden: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> float:
    """Return which share of answers to the canary is right, 0 to 1: what users of a balancer get of unlike nodes.

    {"name": "nine of ten users get the right answer", "type": "probe",
     "tolerance": {"type": "range", "range": [0.9, 1]}, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "canary_share",
     "arguments": {"url": "http://balancer:8000", "model": "chat", "asks": 20}}}

    asks: how often it is asked, 1 to 1000, over a connection of its own each time. Others as `canary_is_right`.
    Wrong, late and missing answers count as not right; each reason is in the log once.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.share_right(url, model, within_s, golden, configuration, asks=asks)


def answers_agree(urls: list[str], model: str, within_s: float = 5, golden: str | None = None) -> bool:
    """Tell whether the nodes of one service give the same answers to the same inputs, within a tolerance.

    {"name": "all nodes answer alike", "type": "probe", "tolerance": true, "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "answers_agree",
     "arguments": {"urls": ["http://gpu01:8000", "http://gpu02:8000"], "model": "chat"}}}

    urls: each node's own address, not the balancer's. model: its name. within_s: seconds for each answer. golden: the
    file that `learn_canary` wrote, for its inputs and its tolerance; without it no known answer is needed, inputs are
    built from the model's signature, and the tolerance is that of `canary_is_right` at its least.
    False where a node differs from the first: the log names it. Which of them is right only a known answer can say.
    Raises ReadingUnknown where a node gives no answer, BadArgument for urls that are none.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return all(node.why is None for node in work.compared(urls, model, within_s, golden))


def compare_answers(urls: list[str], model: str, within_s: float = 5, golden: str | None = None) -> dict[str, Any]:
    """Return how far the answers of the nodes lie apart: the same question as `answers_agree`, with the figures.

    {"name": "how far apart they are", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "compare_answers",
     "arguments": {"urls": ["http://gpu01:8000", "http://gpu02:8000"], "model": "chat"}}}

    Arguments and errors as `answers_agree`.
    Returns {"agree", "nodes"}; each node is {"url", "why", "max_difference", "compared"}, against the first of them.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    nodes = work.compared(urls, model, within_s, golden)
    return {"agree": all(node.why is None for node in nodes), "nodes": [node.to_json() for node in nodes]}


def learn_canary(url: str, model: str, path: str, runs: int = 50, timeout_s: float = 10) -> dict[str, Any]:
    """Learn a model's known answer and its tolerance while it is healthy and under its usual load; write it to a file.

    {"name": "learn the canary", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "learn_canary",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "path": "chat.canary.json"}}}

    url: http://HOST:PORT. model: its name. path: the file to write. runs: how often each input is asked, 2 to 1000.
    timeout_s: seconds for each request.
    Returns {"path", "model", "runs", "compared", "spread"}. Raises AnswerWrong for a model that answers the same
    input differently or with values that are not finite, BadArgument for an unknown model, Unreachable.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.learned(url, model, path, runs, timeout_s)


def pending_count(url: str, model: str, metrics_url: str | None = None, timeout_s: float = 5) -> int:
    """Count the requests that wait for a model: the one figure of Triton's that moves while it hangs.

    {"name": "no queue", "type": "probe", "tolerance": {"type": "range", "range": [0, 10]},
     "provider": {"type": "python", "module": "chaosgpu.triton.probes", "func": "pending_count",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat"}}}

    url: http://HOST:PORT. model: its name. metrics_url: where the metrics are; else two ports after `url`, as in
    Triton's defaults. timeout_s: seconds for the answer.
    Raises ReadingUnknown where the gauge is absent (absent is not zero), BadArgument for an unknown model, Unreachable.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.waiting(url, model, metrics_url, timeout_s)


def progress(
    url: str, model: str, window_s: float = 2, metrics_url: str | None = None, timeout_s: float = 5
) -> dict[str, Any]:
    """Tell whether a model gets on: it hangs if requests wait and none was answered in the window.

    {"name": "chat gets on", "type": "probe", "tolerance": {"type": "jsonpath", "path": "$.hung", "expect": [false]},
     "provider": {"type": "python", "module": "chaosgpu.triton.probes", "func": "progress",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "window_s": 2}}}

    window_s: seconds between the two readings; longer than the model's longest request. Others as `pending_count`.
    Returns {"completed", "pending", "hung"}. Raises as `pending_count`.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.hung_or_not(url, model, window_s, metrics_url, timeout_s)


def watch(  # noqa: PLR0917 (an experiment names them all)
    url: str,
    model: str,
    gpu: str,
    duration_s: float,
    interval_s: float = 1,
    within_s: float = 2,
    hosts: str = "localhost",
    golden: str | None = None,
    metrics_url: str | None = None,
    configuration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Watch health check, canary, queue and GPU memory side by side for a while; one log line a sample.

    {"name": "health check and canary, side by side", "type": "probe", "provider": {"type": "python",
     "module": "chaosgpu.triton.probes", "func": "watch",
     "arguments": {"url": "http://127.0.0.1:8000", "model": "chat", "gpu": "GPU-...", "duration_s": 20}}}

    gpu: UUID of the GPU whose memory is read through the agent on `hosts`. duration_s, interval_s: seconds.
    within_s: seconds for each canary; while it hangs, samples are that far apart. Others as `canary_is_right`.
    Writes the series to the run's `series` folder. Returns {"samples", "ready_true", "canary_right", "canary_wrong",
    "first_wrong_after_s", "recovered_after_s", "max_pending", "series"}; the seconds are null where it never was.
    """
    from chaosgpu.triton import work  # noqa: PLC0415

    return work.watched(
        url,
        model,
        gpu,
        duration_s=duration_s,
        interval_s=interval_s,
        within_s=within_s,
        hosts=hosts,
        golden=golden,
        metrics_url=metrics_url,
        configuration=configuration,
    )
