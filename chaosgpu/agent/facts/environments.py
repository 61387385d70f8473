# SPDX-License-Identifier: Apache-2.0
"""Python environments that somebody named: their Python, PyTorch, Triton and NVIDIA wheels, from metadata alone."""

import re
from functools import partial
from typing import Mapping

from chaosgpu.agent.facts.tree import Tree, UnknownFact, put
from chaosgpu.agent.facts.wheels import wheels
from chaosgpu.agent.readings.catalogue import Answer
from chaosgpu.agent.values import JsonObject

__all__ = ["environments", "triton_version"]

_PACKAGE = re.compile(
    r"torch|torchvision|triton|pytorch-triton|tritonclient|nvidia-pytriton|vllm|sglang|tensorrt|tensorrt-cu\d+"
    r"|tensorrt-llm|onnxruntime-gpu|tensorflow|jax|jaxlib|cupy-cuda\d+x|transformers|flash-attn|xformers|numpy|nvidia-.+"
)


def environments(tree: Tree, named: Mapping[str, str]) -> Answer:
    """Return, by the given name of each folder, {"python", "packages"}."""
    answer = Answer()
    for name, folder in named.items():
        put(answer, name, partial(_environment, tree, folder))
    return answer


def _environment(tree: Tree, folder: str) -> JsonObject:
    python, site = _site(tree, folder.rstrip("/"))
    found = {name: version for name, version in wheels(tree, site).items() if _PACKAGE.fullmatch(name)}
    packages: JsonObject = dict(sorted(found.items()))
    return {"python": python, "packages": packages}


def _site(tree: Tree, folder: str) -> "tuple[str, str]":
    """Return the Python's version, and the folder of packages: that of a virtual environment, or the named one."""
    pythons = [name for name in tree.some_names(f"{folder}/lib") if re.fullmatch(r"python3\.\d+", name)]
    if not pythons:
        inside = re.search(r"/python(3\.\d+)/(?:site|dist)-packages$", folder)
        if inside is None:
            raise UnknownFact(f"{folder} is neither an environment with lib/python3.N nor a folder of packages")
        return inside.group(1), folder
    site = f"{folder}/lib/{pythons[-1]}/site-packages"
    version = pythons[-1][len("python") :]
    if tree.exists(f"{folder}/pyvenv.cfg"):
        said = re.search(r"^version(?:_info)?\s*=\s*(3\.\d+\.\d+)", tree.text(f"{folder}/pyvenv.cfg"), re.MULTILINE)
        version = said.group(1) if said else version
    return version, site


def triton_version(tree: Tree, folder: str) -> str:
    """Return the version that a Triton server's folder tells."""
    said = tree.text(f"{folder}/TRITON_VERSION")
    if not re.fullmatch(r"\d+\.\d+\.\d+\w*", said):
        raise UnknownFact(f"{folder}/TRITON_VERSION holds no version")
    return said
