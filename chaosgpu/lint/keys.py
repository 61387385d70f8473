# SPDX-License-Identifier: Apache-2.0
"""The keys that Chaos Toolkit reads, object by object (read from chaoslib 1.45.1). It ignores all others in silence."""

from difflib import get_close_matches

__all__ = [
    "ACTIVITY",
    "CONTROL",
    "CONTROL_PROVIDER",
    "EXPERIMENT",
    "HYPOTHESIS",
    "PAUSES",
    "PROVIDER",
    "RUNTIME",
    "STRATEGY",
    "TOLERANCE",
    "did_you_mean",
]

EXPERIMENT = frozenset({
    "title", "description", "version", "tags", "contributions", "extensions", "configuration", "secrets", "controls",
    "steady-state-hypothesis", "method", "rollbacks", "runtime",
})  # fmt: skip
HYPOTHESIS = frozenset({"title", "probes", "controls"})
ACTIVITY = frozenset({"name", "type", "provider", "tolerance", "ref", "background", "controls", "pauses", "dry"})
PAUSES = frozenset({"before", "after"})
PROVIDER = {
    "python": frozenset({"type", "module", "func", "arguments", "secrets"}),
    "process": frozenset({"type", "path", "arguments", "timeout", "secrets"}),
    "http": frozenset({
        "type", "url", "method", "headers", "timeout", "arguments", "verify_tls", "max_retries", "secrets",
    }),
}  # fmt: skip
TOLERANCE = {
    "probe": ACTIVITY,
    "regex": frozenset({"type", "pattern", "target"}),
    "jsonpath": frozenset({"type", "path", "target", "count", "expect"}),
    "range": frozenset({"type", "range", "target"}),
}
CONTROL = frozenset({"name", "provider", "scope", "automatic", "ref"})
CONTROL_PROVIDER = frozenset({"type", "module", "arguments"})
RUNTIME = frozenset({"rollbacks", "hypothesis", "python"})
STRATEGY = frozenset({"strategy"})


def did_you_mean(word: str, known: frozenset[str]) -> str | None:
    """Return the known word that was probably meant."""
    close = get_close_matches(word.lower().replace("_", "-"), [*known], n=1, cutoff=0.6) or get_close_matches(
        word, [*known], n=1, cutoff=0.6
    )
    return close[0] if close else None
