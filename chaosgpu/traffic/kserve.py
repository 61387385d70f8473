# SPDX-License-Identifier: Apache-2.0
"""Requests to a Triton model over KServe v2, one row each, from its known answer; learned first where there is none."""

from collections.abc import Callable
from pathlib import Path

from chaosgpu.errors import Unreachable
from chaosgpu.traffic.plan import TrafficPlan, address
from chaosgpu.traffic.prompt import Prompt, Reply, http_request
from chaosgpu.triton import api, canary
from chaosgpu.triton.compare import compare
from chaosgpu.triton.golden import Case, Golden, read_golden
from chaosgpu.triton.http import Answer
from chaosgpu.triton.tensors import Tensor

__all__ = ["prompts_of_model"]

_LEARN_RUNS = 3


def prompts_of_model(plan: TrafficPlan, model: str) -> list[Prompt]:
    """Build one prompt for each row of the known answer."""
    if plan.golden is not None:
        golden = read_golden(Path(plan.golden), model)
    else:
        golden = canary.learn(plan.url, model, _LEARN_RUNS, plan.timeout_s)
    host, port = address(plan.url)
    path = f"{api.model_path(model)}/infer"
    return [_prompt(golden, row, f"{host}:{port}", path) for case in golden.cases for row in rows(case)]


def rows(case: Case) -> list[Case]:
    """Cut a batch into requests of one row; what is no batch stays whole."""
    count = case.inputs[0].shape[0] if case.batched and case.inputs[0].shape else 0
    tensors = case.inputs + case.outputs
    if count <= 1 or any(not tensor.shape or tensor.shape[0] != count for tensor in tensors):
        return [case]
    return [
        Case(tuple(_row(one, at) for one in case.inputs), tuple(_row(one, at) for one in case.outputs), case.batched)
        for at in range(count)
    ]


def _row(tensor: Tensor, at: int) -> Tensor:
    width = len(tensor.values) // tensor.shape[0]
    values = tensor.values[at * width : (at + 1) * width]
    return Tensor(tensor.name, tensor.datatype, (1, *tensor.shape[1:]), values)


def _prompt(golden: Golden, case: Case, host: str, path: str) -> Prompt:
    body, headers = api.infer_request(case.inputs)
    return Prompt(http_request("POST", path, host, headers, body), _judge(golden, case))


def _judge(golden: Golden, case: Case) -> Callable[[Reply], str | None]:
    def why(reply: Reply) -> str | None:
        try:
            answer = Answer(reply.status, reply.body, reply.json_bytes, 0.0)
            got = {tensor.name: tensor for tensor in api.infer_outputs(answer, "the answer")}
        except Unreachable as error:
            return str(error)
        for expected in case.outputs:
            found = compare(expected, got.get(expected.name), golden.spread.get(expected.name, 0.0))
            if found.why is not None:
                return found.why
        return None

    return why
