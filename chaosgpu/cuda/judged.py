# SPDX-License-Identifier: Apache-2.0
"""How tolerances of drift decide: a raise in one would end the run without rollbacks, so what is strange is a no."""

from fnmatch import fnmatchcase

from chaosgpu.cuda.support import Support

__all__ = ["drifted_only_in", "enough", "support_at_least"]

# The best first; unknown and none are in it nowhere.
_ORDER = (Support.FULL, Support.MINOR, Support.FORWARD)


def drifted_only_in(value: object, keys: object) -> bool:
    """Tell whether every difference is in a permitted value, and nothing could not be read."""
    if not isinstance(value, dict) or not isinstance(keys, list) or value.get("unread") != []:
        return False
    differences, findings = value.get("differences"), value.get("findings")
    if not isinstance(differences, list) or not isinstance(findings, list):
        return False
    patterns = [str(key) for key in keys]
    broken = [one for one in findings if isinstance(one, dict) and one.get("level") == "breaks"]
    return all(_permitted([one.get("key")], patterns) for one in differences if isinstance(one, dict)) and all(
        _permitted(one.get("keys"), patterns) for one in broken
    )


def _permitted(keys: object, patterns: list[str]) -> bool:
    return (
        isinstance(keys, list)
        and bool(keys)
        and all(any(fnmatchcase(str(key), pattern) for pattern in patterns) for key in keys)
    )


def support_at_least(value: object, least: object) -> bool:
    """Tell whether the support in an answer is as good as asked for."""
    found = value.get("support") if isinstance(value, dict) else None
    return enough(str(found), str(least))


def enough(found: str, least: str) -> bool:
    """Tell whether one support is as good as another; what is none of the three is never."""
    order = [one.value for one in _ORDER]
    return found in order and least in order and order.index(found) <= order.index(least)
