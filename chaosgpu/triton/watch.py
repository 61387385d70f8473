# SPDX-License-Identifier: Apache-2.0
"""Health check, canary, queue and GPU memory side by side for a while: liveness beside truth."""

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from chaosgpu.errors import AgentFailed, NoGuard, ReadingUnknown, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.triton import api, canary, progress
from chaosgpu.triton.golden import Golden

__all__ = ["Sample", "Watch", "series_file", "summary"]

logger = logging.getLogger("chaostoolkit")


@dataclass(frozen=True)
class Sample:
    """One moment; None where it could not be known."""

    after_s: float
    ready: bool
    right: bool
    why: str | None
    latency_s: float
    pending: int | None
    vram_used_percent: float | None

    def line(self) -> str:
        """Return the line that the terminal shows."""
        vram = "unknown" if self.vram_used_percent is None else f"{self.vram_used_percent:.0f} %"
        health = "ready" if self.ready else "NOT READY"
        answer = f"right in {self.latency_s:.2f} s" if self.right else str(self.why)
        waiting = "unknown" if self.pending is None else str(self.pending)
        return f"+{self.after_s:.0f} s  VRAM {vram}  health check: {health}  canary: {answer}  pending {waiting}"


@dataclass(frozen=True)
class Watch:
    """What is watched, and the clock by which."""

    url: str
    metrics_url: str | None
    golden: Golden
    within_s: float
    read_vram: Callable[[], float | None]
    rng: random.Random
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def run(self, duration_s: float, interval_s: float, series: TextIO | None) -> list[Sample]:
        """Sample until the time is up; each sample is logged and written as soon as it is there."""
        started = self.now()
        samples: list[Sample] = []
        while True:
            began = self.now()
            if began - started >= duration_s and samples:
                return samples
            sample = self._sample(began - started)
            samples.append(sample)
            logger.info(sample.line())
            if series is not None:
                series.write(json.dumps(asdict(sample)) + "\n")
                series.flush()
            self.sleep(max(0.0, min(began + interval_s, started + duration_s) - self.now()))

    def _sample(self, after_s: float) -> Sample:
        ready = _ready(self.url, self.within_s)
        found = canary.ask(self.url, self.golden, self.within_s, self.rng)
        return Sample(
            after_s=round(after_s, 2),
            ready=ready,
            right=found.right,
            why=found.why,
            latency_s=round(found.latency_s, 4),
            pending=self._pending(),
            vram_used_percent=self.read_vram(),
        )

    def _pending(self) -> int | None:
        try:
            return progress.pending(self.url, self.golden.model, self.metrics_url, self.within_s)
        except (Unreachable, ReadingUnknown):
            return None


def _ready(url: str, within_s: float) -> bool:
    try:
        return api.health(url, "/v2/health/ready", within_s)
    except Unreachable:
        return False


def read_vram(gpu: str, hosts: str, timeout_s: float) -> float | None:
    """Ask the host's agent how much of the GPU's memory is used; None, with a line, where it cannot say."""
    from chaosgpu.fleet.ask import ask  # noqa: PLC0415 (validation imports every named module)
    from chaosgpu.fleet.values import number, whole_object  # noqa: PLC0415

    try:
        answer = ask(hosts, "read", {"reading": "gpu.memory", "params": {"gpu": gpu}}, timeout_s)
    except (AgentFailed, Unreachable) as error:
        logger.warning("Memory of %s is unknown: %s", gpu, error)
        return None
    return number(whole_object(answer, "values"), "used_percent")


def series_file(model: str) -> Path | None:
    """Return a new file in the run's series folder; None outside a guarded run, where there is no record."""
    from chaosgpu.lease.run import current_run  # noqa: PLC0415 (validation imports every named module)

    try:
        folder = current_run().directory / "series"
    except NoGuard:
        return None
    taken = len(list(folder.glob(f"watch-{model}-*.jsonl")))
    return folder / f"watch-{model}-{taken + 1}.jsonl"


def summary(samples: list[Sample], series: Path | None) -> JsonObject:
    """Sum a watch up: when the canary was first not right, and from when on it was right again to the end."""
    wrong = [sample.after_s for sample in samples if not sample.right]
    recovered = [sample.after_s for sample in samples if wrong and sample.after_s > wrong[-1]]
    waiting = [sample.pending for sample in samples if sample.pending is not None]
    return {
        "samples": len(samples),
        "ready_true": sum(sample.ready for sample in samples),
        "canary_right": sum(sample.right for sample in samples),
        "canary_wrong": sum(not sample.right for sample in samples),
        "first_wrong_after_s": wrong[0] if wrong else None,
        "recovered_after_s": recovered[0] if recovered else None,
        "max_pending": max(waiting) if waiting else None,
        "series": None if series is None else str(series),
    }
