# SPDX-License-Identifier: Apache-2.0
"""Triton's HTTP calls, typed: health, metadata, configuration, statistics, metrics, inference, repository."""

import re
from urllib.parse import quote

from chaosgpu.errors import AnswerWrong, BadArgument, Refused, Unreachable
from chaosgpu.fleet.values import JsonObject, JsonValue
from chaosgpu.triton.http import Answer, exchange, json_body, service_address
from chaosgpu.triton.tensors import Tensor, decode, encode

__all__ = [
    "ModelNotLoaded",
    "config",
    "health",
    "infer",
    "infer_outputs",
    "infer_request",
    "load",
    "metadata",
    "metrics",
    "model_path",
    "model_state",
    "success_count",
    "unload",
]

_OK = 200
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class ModelNotLoaded(Refused):
    """The model is in the repository and not loaded."""


def model_path(model: object) -> str:
    """Return the path of a model's calls; a name that is none is refused."""
    if not isinstance(model, str) or not _MODEL_NAME.fullmatch(model):
        raise BadArgument(f"model must be the name of a model in Triton's repository, not {model!r}.")
    return f"/v2/models/{quote(model)}"


def health(url: str, path: str, within_s: float) -> bool:
    """Ask one of the health endpoints: they answer 200, or 400 with no body."""
    return exchange(url, "GET", path, within_s=within_s).status == _OK


def _object(answer: Answer, what: str) -> JsonObject:
    value = answer.json(what)
    if not isinstance(value, dict):
        raise Unreachable(f"{what}: the answer is JSON but not an object; is this a Triton server?")
    return value


def _get(url: str, path: str, model: str, within_s: float) -> JsonObject:
    what = f"GET {path} at {url}"
    answer = exchange(url, "GET", path, within_s=within_s)
    if answer.status != _OK:
        raise explained(url, model, answer, what, within_s)
    return _object(answer, what)


def explained(url: str, model: str, answer: Answer, what: str, within_s: float) -> BadArgument | Refused | AnswerWrong:
    """Turn an error answer into the right error: unknown model, model not loaded, or the server's own words."""
    words = answer.error()
    if "unknown model" in words.lower() or "not found" in words.lower() or "no available versions" in words:
        state = model_state(url, model, within_s)
        if state is None:
            return BadArgument(f"{what}: Triton has no model {model!r} in its repository; check the name.")
        return ModelNotLoaded(f"{what}: the model {model!r} is in the repository but not loaded ({state}).")
    return AnswerWrong(f"{what}: HTTP {answer.status}: {words}")


def model_state(url: str, model: str, within_s: float) -> str | None:
    """Return READY, LOADING, UNLOADING or UNAVAILABLE with its reason from the repository's index; None if unlisted."""
    what = f"POST /v2/repository/index at {url}"
    answer = exchange(url, "POST", "/v2/repository/index", within_s=within_s, body=b"{}")
    listing = answer.json(what)
    if answer.status != _OK or not isinstance(listing, list):
        raise Unreachable(f"{what}: HTTP {answer.status}: {answer.error()}; is the model repository there?")
    for entry in listing:
        if isinstance(entry, dict) and entry.get("name") == model:
            return " ".join(str(entry[key]) for key in ("state", "reason") if entry.get(key)) or "not loaded"
    return None


def metadata(url: str, model: str, within_s: float) -> JsonObject:
    """Return the model's signature."""
    return _get(url, model_path(model), model, within_s)


def config(url: str, model: str, within_s: float) -> JsonObject:
    """Return the model's configuration as the server holds it."""
    return _get(url, f"{model_path(model)}/config", model, within_s)


def success_count(url: str, model: str, within_s: float) -> int:
    """Return how many requests of the model have been answered since it was loaded."""
    path = f"{model_path(model)}/stats"
    stats = _get(url, path, model, within_s)
    total = 0
    listed = stats.get("model_stats")
    for entry in listed if isinstance(listed, list) else []:
        kinds = entry.get("inference_stats") if isinstance(entry, dict) else None
        success = kinds.get("success") if isinstance(kinds, dict) else None
        count = success.get("count") if isinstance(success, dict) else None
        if not isinstance(count, int):
            raise Unreachable(f"GET {path} at {url}: the statistics hold no success count.")
        total += count
    return total


def metrics_url_of(url: str, metrics_url: str | None) -> str:
    """Return where the metrics are: as given, else two ports after HTTP, as Triton's defaults 8000 and 8002 are."""
    if metrics_url is not None:
        service_address(metrics_url)
        return metrics_url
    host, port = service_address(url)
    return f"http://{host}:{port + 2}"


def metrics(url: str, metrics_url: str | None, within_s: float) -> str:
    """Return the text of the metrics page."""
    where = metrics_url_of(url, metrics_url)
    answer = exchange(where, "GET", "/metrics", within_s=within_s)
    if answer.status != _OK:
        raise Unreachable(f"GET /metrics at {where}: HTTP {answer.status}; name the metrics_url of this server.")
    return answer.body.decode("utf-8", "replace")


def infer(url: str, model: str, inputs: tuple[Tensor, ...], within_s: float) -> tuple[tuple[Tensor, ...], float]:
    """Run one inference with binary tensors: the outputs and the seconds it took."""
    path = f"{model_path(model)}/infer"
    what = f"POST {path} at {url}"
    body, headers = infer_request(inputs)
    answer = exchange(url, "POST", path, within_s=within_s, body=body, headers=headers)
    if answer.status != _OK:
        raise explained(url, model, answer, what, within_s)
    return infer_outputs(answer, what), answer.latency_s


def infer_request(inputs: tuple[Tensor, ...]) -> tuple[bytes, dict[str, str]]:
    """Build the body and the headers of an inference with binary tensors both ways."""
    blobs = [encode(tensor) for tensor in inputs]
    header = json_body(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "datatype": tensor.datatype,
                    "parameters": {"binary_data_size": len(blob)},
                }
                for tensor, blob in zip(inputs, blobs, strict=True)
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return header + b"".join(blobs), headers


def infer_outputs(answer: Answer, what: str) -> tuple[Tensor, ...]:
    """Read the outputs of an inference that was answered."""
    length = len(answer.body) if answer.json_bytes is None else answer.json_bytes
    head = _object(Answer(answer.status, answer.body[:length], None, 0.0), what)
    at = length
    listed = head.get("outputs")
    outputs = []
    for entry in listed if isinstance(listed, list) else []:
        name, datatype, shape, size = _described(entry, what)
        raw = answer.body[at : at + size]
        at += size
        if len(raw) != size:
            raise Unreachable(f"{what}: output {name} should have {size} bytes and has {len(raw)}.")
        outputs.append(decode(name, datatype, shape, raw))
    if not outputs:
        raise Unreachable(f"{what}: the answer holds no outputs.")
    return tuple(outputs)


def _described(entry: JsonValue, what: str) -> tuple[str, str, tuple[int, ...], int]:
    if isinstance(entry, dict):
        parameters = entry.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        if isinstance(name, str) and isinstance(datatype, str) and isinstance(shape, list) and isinstance(size, int):
            return name, datatype, tuple(value for value in shape if isinstance(value, int) and value >= 0), size
    raise Unreachable(f"{what}: an output of the answer is not described as the binary extension demands.")


def load(url: str, model: str, within_s: float, override: str | None = None) -> None:
    """Load a model; `override` is a whole configuration as JSON text."""
    _repository(url, model, "load", within_s, {"parameters": {"config": override}} if override is not None else {})


def unload(url: str, model: str, within_s: float) -> None:
    """Ask for a model to be unloaded; Triton answers at once and does it after the running requests."""
    _repository(url, model, "unload", within_s, {})


def _repository(url: str, model: str, verb: str, within_s: float, body: JsonObject) -> None:
    model_path(model)
    path = f"/v2/repository/models/{quote(model)}/{verb}"
    what = f"POST {path} at {url}"
    answer = exchange(url, "POST", path, within_s=within_s, body=json_body(body))
    if answer.status != _OK:
        if model_state(url, model, within_s) is None:
            raise BadArgument(f"{what}: Triton has no model {model!r} in its repository; check the name.")
        raise Refused(f"{what}: HTTP {answer.status}: {answer.error()}")
