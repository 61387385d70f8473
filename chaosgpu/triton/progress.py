# SPDX-License-Identifier: Apache-2.0
"""Is the model getting on? What waits, what was answered since; a model that holds requests and answers none hangs."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from chaosgpu.errors import BadArgument, ReadingUnknown
from chaosgpu.triton import api

__all__ = ["Progress", "measure", "pending"]

# The only counter that moves during a hang (research/serving.md §1.1): the queue's own moves when a request is done.
_PENDING = "nv_inference_pending_request_count"
_SAMPLE = re.compile(r"^" + _PENDING + r"\{([^}]*)\}\s+(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """Requests answered in the window, requests waiting at its end, and whether it hangs."""

    completed: int
    pending: int
    hung: bool


def pending(url: str, model: str, metrics_url: str | None, within_s: float) -> int:
    """Count the requests that wait for the model; a gauge that is not there is unknown, not zero."""
    page = api.metrics(url, metrics_url, within_s)
    values = [float(value) for labels, value in _SAMPLE.findall(page) if f'model="{model}"' in labels]
    if values:
        return int(sum(values))
    if api.model_state(url, model, within_s) is None:
        raise BadArgument(f"Triton at {url} has no model {model!r} in its repository; check the name.")
    raise ReadingUnknown(
        f"The metrics of {url} hold no {_PENDING} of model {model}: it is not loaded, or metrics are off; "
        "the number of waiting requests is unknown, which is not zero."
    )


def measure(
    url: str,
    model: str,
    metrics_url: str | None,
    *,
    window_s: float,
    within_s: float,
    sleep: Callable[[float], None],
) -> Progress:
    """Read twice, `window_s` apart. The success count begins again when a model is loaded anew."""
    waiting_before = pending(url, model, metrics_url, within_s)
    before = api.success_count(url, model, within_s)
    sleep(window_s)
    after = api.success_count(url, model, within_s)
    waiting = pending(url, model, metrics_url, within_s)
    completed = after - before if after >= before else after
    return Progress(completed, waiting, hung=completed == 0 and waiting > 0 and waiting_before > 0)
