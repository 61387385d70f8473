# SPDX-License-Identifier: Apache-2.0
"""Which known answer an experiment means: the argument, else its configuration, else the environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from chaosgpu.errors import BadArgument
from chaosgpu.triton.golden import Golden, read_golden

__all__ = ["CONFIGURATION_KEY", "ENVIRONMENT_KEY", "known_answer"]

CONFIGURATION_KEY = "chaosgpu_canary"
ENVIRONMENT_KEY = "CHAOSGPU_CANARY"


def known_answer(golden: str | None, configuration: Mapping[str, object] | None, model: str) -> Golden:
    """Read the known answer of a model from where the experiment says it is."""
    path = golden or (configuration or {}).get(CONFIGURATION_KEY) or os.environ.get(ENVIRONMENT_KEY)
    if not isinstance(path, str):
        raise BadArgument(
            f"No known answer of model {model}: learn it with learn_canary while the model is healthy, then name the "
            f"file as `golden`, as configuration {CONFIGURATION_KEY}, or in ${ENVIRONMENT_KEY}."
        )
    return read_golden(Path(path), model)
