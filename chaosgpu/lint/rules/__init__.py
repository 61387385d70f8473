# SPDX-License-Identifier: Apache-2.0
"""The registry of rules: each is a small function from a document to what it found. One line a rule."""

from collections.abc import Callable, Iterator

from chaosgpu.lint.document import Document
from chaosgpu.lint.finding import Finding
from chaosgpu.lint.rules.arguments import check_arguments, check_kind
from chaosgpu.lint.rules.controls import check_controls
from chaosgpu.lint.rules.dry import check_dry
from chaosgpu.lint.rules.guard import check_background_faults, check_guard
from chaosgpu.lint.rules.lifecycle import check_lifecycle, check_playbooks
from chaosgpu.lint.rules.processes import check_shell, check_time_limits
from chaosgpu.lint.rules.references import check_duplicate_names, check_references
from chaosgpu.lint.rules.rollbacks import (
    check_hypothesis_strategy,
    check_own_undo,
    check_rollback_strategy,
    check_undo,
)
from chaosgpu.lint.rules.secrets import check_secrets
from chaosgpu.lint.rules.stops import check_stops
from chaosgpu.lint.rules.substitutions import check_substitutions
from chaosgpu.lint.rules.tolerances import check_tolerances, check_unread_tolerances
from chaosgpu.lint.rules.unknown_keys import check_keys
from chaosgpu.lint.rules.yaml_traps import check_duplicate_keys, check_yaml_traps

__all__ = ["RULES", "Rule"]

Rule = Callable[[Document], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    check_keys,
    check_references,
    check_duplicate_names,
    check_rollback_strategy,
    check_hypothesis_strategy,
    check_undo,
    check_own_undo,
    check_guard,
    check_stops,
    check_lifecycle,
    check_playbooks,
    check_background_faults,
    check_controls,
    check_arguments,
    check_kind,
    check_tolerances,
    check_unread_tolerances,
    check_dry,
    check_duplicate_keys,
    check_yaml_traps,
    check_shell,
    check_time_limits,
    check_substitutions,
    check_secrets,
)
