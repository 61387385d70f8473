# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP requests with known answers, from a file that people write or a service's own tool does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pydantic

from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonValue
from chaosgpu.traffic.plan import TrafficPlan, address
from chaosgpu.traffic.prompt import Prompt, Reply, http_request

__all__ = ["Expected", "HttpRequest", "RequestFile", "lacking", "prompts_of_file"]

_MAX_FILE_BYTES = 32 * 1024 * 1024
_STRICT = pydantic.ConfigDict(extra="forbid", frozen=True)


class Expected(pydantic.BaseModel):
    """What a right answer is: its status, and what its JSON or its text holds."""

    model_config = _STRICT
    status: int = pydantic.Field(default=200, ge=100, le=599)
    json_holds: pydantic.JsonValue = None
    text_holds: str | None = None


class HttpRequest(pydantic.BaseModel):
    """One request; `json_body` is sent as JSON."""

    model_config = _STRICT
    method: Literal["GET", "POST", "PUT"] = "POST"
    path: str = pydantic.Field(pattern=r"^/[!-~]*$")
    headers: dict[str, str] = pydantic.Field(default_factory=dict)
    json_body: pydantic.JsonValue = None
    expect: Expected = Expected()


class RequestFile(pydantic.BaseModel):
    """The whole file."""

    model_config = _STRICT
    version: Literal[1]
    requests: list[HttpRequest] = pydantic.Field(min_length=1)


def prompts_of_file(plan: TrafficPlan, path: Path) -> list[Prompt]:
    """Read the file and build its prompts; what is wrong with it is one sentence."""
    host, port = address(plan.url)
    return [_prompt(one, f"{host}:{port}") for one in _read(path).requests]


def _read(path: Path) -> RequestFile:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise BadArgument(f"{path} is larger than {_MAX_FILE_BYTES >> 20} MiB: this is no file of requests.")
        return RequestFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadArgument(f"The requests {path} cannot be read: {error.strerror}.") from error
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadArgument(f"The requests {path} are not well formed at {where}: {first['msg']}.") from error


def _prompt(one: HttpRequest, host: str) -> Prompt:
    for name, value in one.headers.items():
        if any(ord(character) < ord(" ") for character in name + value):
            raise BadArgument(f"The header {name!r} holds a line break or another control character.")
    headers = dict(one.headers)
    body = b""
    if one.json_body is not None:
        body = json.dumps(one.json_body).encode()
        headers.setdefault("Content-Type", "application/json")
    return Prompt(
        http_request(one.method, one.path, host, headers, body), _judge(one.expect), wanted_status=one.expect.status
    )


def _judge(expect: Expected) -> Callable[[Reply], str | None]:
    def why(reply: Reply) -> str | None:
        if expect.text_holds is not None and expect.text_holds.encode() not in reply.body:
            return f"the answer does not hold the text {expect.text_holds!r}"
        if expect.json_holds is None:
            return None
        try:
            found: JsonValue = json.loads(reply.body)
        except ValueError:
            return "the answer is not JSON"
        lacks = lacking(found, expect.json_holds)
        return None if lacks is None else f"the answer is not the known one at {lacks}"

    return why


def lacking(found: JsonValue, wanted: JsonValue, where: str = "") -> str | None:
    """Say where `found` does not hold what is wanted: objects may hold more, all else must be equal."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            lacks = lacking(found.get(key), value, f"{where}.{key}") if key in found else f"{where}.{key}"
            if lacks is not None:
                return lacks.removeprefix(".")
        return None
    same_kind = isinstance(found, bool) == isinstance(wanted, bool)
    return None if found == wanted and same_kind else (where.removeprefix(".") or "the whole")
