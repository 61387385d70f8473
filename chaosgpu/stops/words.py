# SPDX-License-Identifier: Apache-2.0
"""Stop conditions as text, read with Python's own parser and nothing of it run.

    gpu_temperature_above(90) | host_memory_below(512) | (canary_wrong_for(5) & elapsed(10))

Names of conditions, literals, `|`, `&` and parentheses; whatever else there is, is a mistake with a sentence.
"""

import ast
from collections.abc import Mapping

from chaosgpu.agent.stops.tree import Known
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["tree_of"]

_LONGEST = 4096
_HOW = "Write conditions such as `elapsed(60) | (canary_wrong_for(5) & lease_gone())`."


def tree_of(text: str, known: Mapping[str, Known]) -> JsonObject:
    """Return the conditions as JSON, not yet checked by value; BadArgument with a sentence for each mistake."""
    if len(text) > _LONGEST:
        raise BadArgument(f"stop_when is longer than {_LONGEST} characters.")
    try:
        parsed = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BadArgument(f"stop_when {text!r} cannot be read: {said}. {_HOW}") from error
    return _node(parsed.body, known)


def _node(node: ast.expr, known: Mapping[str, Known]) -> JsonObject:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd)):
        join = "any" if isinstance(node.op, ast.BitOr) else "all"
        parts: list[JsonValue] = []
        for side in (_node(node.left, known), _node(node.right, known)):
            inside = side.get(join)
            parts += inside if isinstance(inside, list) else [side]
        return {join: parts}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return {node.func.id: _parameters(node, node.func.id, known)}
    if isinstance(node, ast.BoolOp):
        raise BadArgument(f"stop_when joins with `and` or `or` in `{_shown(node)}`: write & or |.")
    if isinstance(node, ast.Name):
        raise BadArgument(f"stop_when names {node.id} without parentheses: write {node.id}(…).")
    raise BadArgument(f"stop_when holds `{_shown(node)}`, which is no condition. {_HOW}")


def _parameters(call: ast.Call, name: str, known: Mapping[str, Known]) -> JsonObject:
    if name not in known:
        raise BadArgument(f"There is no stop condition {name!r}; there are: {', '.join(sorted(known))}.")
    names = [parameter.name for parameter in known[name].parameters]
    if len(call.args) > len(names):
        raise BadArgument(f"{name} takes {len(names)} parameters ({', '.join(names) or 'none'}), not {len(call.args)}.")
    found: JsonObject = {}
    for parameter, value in zip(names, call.args, strict=False):
        found[parameter] = _literal(value, name)
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in found:
            raise BadArgument(f"{name} in stop_when is given {keyword.arg or '**'} twice or in a way that is not read.")
        found[keyword.arg] = _literal(keyword.value, name)
    return found


def _literal(node: ast.expr, name: str) -> JsonValue:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _literal(node.operand, name)
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            return -number
    if isinstance(node, ast.List):
        return [_literal(one, name) for one in node.elts]
    raise BadArgument(f"{name} in stop_when is given `{_shown(node)}`: only numbers, texts and lists of them are read.")


def _shown(node: ast.expr) -> str:
    return ast.unparse(node)[:80]
