# SPDX-License-Identifier: Apache-2.0
"""Whether containers are promised the driver that runs, and whether the images' CUDA goes with it."""

import re
from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility, TritonImage
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.cuda.rules.services import of_support

__all__ = ["judge"]

_TRITON = re.compile(r"(?:^|/)tritonserver:(\d\d\.\d\d)(?:-(trtllm|vllm))?")
_CDI = "Tdarr issue 1423, nvidia-container-toolkit issue 1517 (reported)"


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:
    """Judge CDI, the packages of the toolkit and Triton images."""
    module, promised = facts.text("driver", "module"), facts.text("containers", "cdi_driver")
    if module and promised and module != promised:
        yield Finding(
            facts.host, "cdi-names-another-driver", Level.BREAKS, ("driver.module", "containers.cdi_driver"),
            f"The CDI specification hands containers the files of driver {promised}, and {module} runs: no container "
            "starts. Run systemctl restart nvidia-cdi-refresh, or nvidia-ctk cdi generate.",
            _CDI,
        )  # fmt: skip
    yield from _toolkit(facts)
    images = facts.section("containers").get("images")
    for name, image in images.items() if isinstance(images, dict) else ():
        if isinstance(image, dict):
            yield from _triton(facts, data, name, str(image.get("image")), module)


def _toolkit(facts: Facts) -> Iterator[Finding]:
    packages = facts.section("containers").get("toolkit_packages")
    versions = {str(version) for version in packages.values()} if isinstance(packages, dict) else set()
    if len(versions) > 1:
        yield Finding(
            facts.host, "toolkit-of-two-versions", Level.RISK, ("containers.toolkit",),
            f"The packages of the container toolkit are {', '.join(sorted(versions))}: pin all four together.",
            "NVIDIA/gpu-driver-container 06a208c (read)",
        )  # fmt: skip


def _triton(facts: Facts, data: Compatibility, name: str, image: str, driver: str | None) -> Iterator[Finding]:
    match = _TRITON.search(image)
    if match is None:
        return
    release, flavour = match.groups()
    known = [one for one in data.triton if one.release == release and flavour in (None, one.flavour)]
    keys = ("driver.module", f"images.{name}")
    if not known:
        image_is = f"Triton {release}{f' ({flavour})' if flavour else ''}"
        what = f"{name} runs {image_is}, which the data (of {data.recorded}) lacks."
        yield Finding(facts.host, "driver-for-triton", Level.UNKNOWN, keys, what, "the compatibility data")
        return
    judged = {one.cuda: of_support(facts, data, driver, one.cuda) for one in known}
    worst = next((found for found in judged.values() if found is not None), None)
    if worst is None:
        return
    told = len(set(judged.values())) == 1
    level = worst[0] if told else Level.UNKNOWN
    yield Finding(
        facts.host, "driver-for-triton", level, keys, _said(name, release, known, worst[1], told), _cited(data, known)
    )


def _said(name: str, release: str, known: list[TritonImage], why: str, told: bool) -> str:
    cudas = " or ".join(dict.fromkeys(f"{one.cuda} ({one.flavour})" for one in known))
    more = "" if told else "; which of them it is depends on the flavour, which its name does not tell"
    return f"{name} runs Triton {release} with CUDA {cudas}: {why}{more}."


def _cited(data: Compatibility, known: list[TritonImage]) -> str:
    return data.cited(known[0].source)
