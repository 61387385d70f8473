# SPDX-License-Identifier: Apache-2.0
"""The shape of what the simulator tells about its GPUs: plain JSON for tests, tables and `show --json`.

The fields are listed once, in `src/fields.h`, and are named here by no second list that could differ from it.
A document has `generation`, `clients`, `events`, `system` and `gpus`. A GPU has `identity`, `settings`, `faults`,
`counters` and `readings` (fields by name), `processes` (`pid`, `context_bytes`, `allocated_bytes`, `name`),
`memory_limits` (`cgroup`, `soft`, `hard`), and by function `not_supported` and `forced`.
"""

from typing import Any

__all__ = ["Document", "Gpu", "Plain", "Stable"]

type Plain = Any  # one value of the document: a number, a text, or a list or object of them
type Document = dict[str, Plain]
type Gpu = dict[str, Plain]
type Stable = dict[str, Plain]
