# SPDX-License-Identifier: Apache-2.0
"""Every stop condition of a host by name."""

from typing import Mapping

from chaosgpu.agent.stops.contract import Condition
from chaosgpu.agent.stops.file import FILE_EXISTS

__all__ = ["CONDITIONS"]

CONDITIONS: Mapping[str, Condition] = {condition.name: condition for condition in (FILE_EXISTS,)}
