# SPDX-License-Identifier: Apache-2.0
"""The lab's pipeline: embedding on Triton, Chroma, the generator on Triton, and a gateway that users ask."""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed, Unreachable
from chaosgpu.fleet.values import JsonObject
from chaosgpu.lab.databases import prepared
from chaosgpu.lab.packages import packages
from chaosgpu.lab.plan import LabPlan, Service, free_port, write_json
from chaosgpu.triton import api
from chaosgpu.triton.http import exchange
from chaosgpu.triton.tensors import Tensor

__all__ = ["COLLECTION", "PipelinePlan", "fill", "laid_out", "wait_for_traffic"]

COLLECTION = "documents"
# Requests a second: a quarter of what the generator can do.
RATE_PER_S = 8.0
TIMEOUT_S = 5.0
_DOCUMENTS, _QUESTIONS = 60, 16
_SEED = 20260102
_WORDS = (
    "rack", "node", "card", "fan", "rail", "power", "heat", "clock", "driver", "kernel", "queue", "batch", "cable",
    "switch", "disk", "link", "memory", "cache", "alarm", "drill",
)  # fmt: skip
_READY_S = 30.0
_ASK_S = 10.0
_POLL_S = 0.1
_OK = 300


@dataclass(frozen=True)
class PipelinePlan:
    """Where the pipeline's parts are, and the processes that the supervisor starts for it."""

    store_url: str
    gateway_url: str
    services: tuple[Service, ...]
    exported: dict[str, str]


def laid_out(directory: Path, variant: str, triton_url: str, say: Callable[[str], None]) -> PipelinePlan:
    """Install what the pipeline needs, and write down how each part of it is started."""
    store = prepared("chroma", directory / "store", say)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    gateway = [sys.executable, str(Path(__file__).with_name("gateway")), triton_url, store.url, COLLECTION, variant]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory / "tmp"),
        "PYTHONPATH": str(packages("gateway", say)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return PipelinePlan(
        store_url=store.url,
        gateway_url=url,
        services=(
            Service("store", tuple(store.engine.command(store.place)), store.engine.environment(store.place)),
            Service("gateway", (*gateway, str(port)), environment),
        ),
        exported={
            "CHAOSGPU_LAB_STORE_URL": store.url,
            "CHAOSGPU_LAB_GATEWAY_URL": url,
            "CHAOSGPU_LAB_REQUESTS": str(directory / "requests.json"),
            "CHAOSGPU_LAB_TRAFFIC": str(directory / "pipeline-traffic.jsonl"),
        },
    )


def fill(plan: LabPlan, store_url: str, gateway_url: str, say: Callable[[str], None]) -> None:
    """Fill the store, learn the known answers through the gateway, and write them down for the traffic."""
    began = time.monotonic()
    _wait(store_url, "/api/v2/heartbeat", "the vector database")
    _wait(gateway_url, "/health", "the gateway")
    rng = random.Random(_SEED)  # noqa: S311 (the same texts every time, not a secret)
    texts = [" ".join(rng.choices(_WORDS, k=6)) for _ in range(_DOCUMENTS)]
    embeddings = [_embedded(plan.url, text) for text in texts]
    database = "/api/v2/tenants/default_tenant/databases/default_database/collections"
    made = _post(store_url, database, {"name": COLLECTION, "configuration": {"hnsw": {"space": "cosine"}}})
    added: JsonObject = {
        "ids": [f"document-{number}" for number in range(_DOCUMENTS)],
        "documents": list(texts),
        "embeddings": [list(one) for one in embeddings],
    }
    _post(store_url, f"{database}/{made['id']}/add", added)
    questions = [f"what of {' '.join(rng.choices(_WORDS, k=3))}" for _ in range(_QUESTIONS)]
    asked = [_known(gateway_url, question) for question in questions]
    write_json(plan.path("requests.json"), {"version": 1, "requests": asked})
    say(
        f"the pipeline answers at {gateway_url}/ask after {time.monotonic() - began:.1f} s: {_DOCUMENTS} documents, "
        f"{len(asked)} questions with known answers"
    )


def wait_for_traffic(series: Path, seconds: int) -> None:
    """Wait until this many seconds of traffic have been written, so that a probe of the last ones finds them."""
    deadline = time.monotonic() + _READY_S
    while not series.exists() or series.read_text().count("\n") < seconds:
        if time.monotonic() > deadline:
            raise LabFailed(f"No traffic was written to {series} within {_READY_S:g} s; see traffic.log beside it.")
        time.sleep(_POLL_S)


def _embedded(url: str, text: str) -> list[float]:
    tokens = tuple(text.encode())
    outputs, _ = api.infer(url, "embed", (Tensor("TOKENS", "INT32", (1, len(tokens)), tokens),), _ASK_S)
    return [float(value) for value in outputs[0].values]


def _known(url: str, question: str) -> JsonObject:
    """Ask twice: only an answer that stays the same can be known."""
    first, second = (_post(url, "/ask", {"question": question}) for _ in range(2))
    if first != second:
        raise LabFailed(f"The pipeline answered {question!r} in two ways: {first} and {second}.")
    return {"path": "/ask", "json_body": {"question": question}, "expect": {"json_holds": first}}


def _post(url: str, path: str, document: JsonObject) -> JsonObject:
    headers = {"Content-Type": "application/json"}
    answer = exchange(url, "POST", path, within_s=_ASK_S, body=json.dumps(document).encode(), headers=headers)
    if answer.status >= _OK:
        raise LabFailed(f"POST {path} at {url}: HTTP {answer.status}: {answer.error()}")
    found = answer.json(path)
    return found if isinstance(found, dict) else {}


def _wait(url: str, path: str, what: str) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            if exchange(url, "GET", path, within_s=1.0).status < _OK:
                return
        except Unreachable:
            pass  # not listening yet
        time.sleep(_POLL_S)
    raise LabFailed(f"The lab's pipeline: {what} at {url} was not ready within {_READY_S:g} s; see its log.")
