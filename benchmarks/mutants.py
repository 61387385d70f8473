# SPDX-License-Identifier: Apache-2.0
"""Every small mistake that somebody could make in a source, one at a time, as sources with that mistake in them.

Left out, since nothing hangs on them: sentences (a text with a blank in it), the names of steps that only tests see,
annotations, docstrings and `__all__`.
"""

import ast
import copy
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants"]

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_WORD = re.compile(r"[A-Za-z_]+")


@dataclass(frozen=True)
class Mutant:
    """One mistake: its key is the same as long as its line and what is before it in that line are."""

    key: str
    line: int
    what: str
    source: str


def mutants(name: str, source: str) -> Iterator[Mutant]:
    """Yield each mutant of a file, in the order of its lines."""
    tree = ast.parse(source)
    lines = source.splitlines()
    seen: dict[str, int] = {}
    for number, node in enumerate(_mutable(tree)):
        for turn, (what, _) in enumerate(_changes(node)):
            other = copy.deepcopy(tree)
            twin = _mutable(other)[number]
            _, change = _changes(twin)[turn]
            change()
            at = getattr(node, "lineno", 1)
            text = f"{name}: {lines[at - 1].strip()} | {what}"
            seen[text] = seen.get(text, 0) + 1
            key = hashlib.sha256(f"{text} {seen[text]}".encode()).hexdigest()[:12]
            yield Mutant(key, at, text.split(": ", 1)[1], ast.unparse(ast.fix_missing_locations(other)))


def _mutable(tree: ast.Module) -> list[ast.AST]:
    """Return the nodes that may be changed, always in the same order."""
    found: list[ast.AST] = []

    def walk(node: ast.AST) -> None:
        if _nothing_hangs_on(node):
            return
        found.append(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    walk(child)

    walk(tree)
    return found


def _nothing_hangs_on(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr):
        call = node.value
        step = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "step"
        return step or (isinstance(call, ast.Constant) and isinstance(call.value, str))
    if isinstance(node, ast.Assign):
        first = ast.unparse(node.targets[0])
        return first == "__all__" or ast.unparse(node.value).startswith("TypeVar(")
    return False


def _changes(node: ast.AST) -> list[tuple[str, "_Change"]]:
    """Return each mistake for this node with what makes it."""
    found = [*_operators(node), *_values(node), *_flow(node), *_missing(node)]
    return [(what, _Change(node, field, value)) for what, field, value in found]


def _operators(node: ast.AST) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            other = _COMPARE[type(operator)]
            operators = [other() if at == place else kept for at, kept in enumerate(node.ops)]
            yield f"{type(operator).__name__} -> {other.__name__} {place}", "ops", operators
    elif isinstance(node, ast.BoolOp):
        yield "and <-> or", "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
        for place in range(len(node.values)):
            left = node.values[:place] + node.values[place + 1 :]
            yield f"without part {place}", "values", left if len(left) > 1 else [left[0], left[0]]
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield f"{type(node.op).__name__} turned", "op", _ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not left out", "operand", ast.UnaryOp(ast.Not(), node.operand)


def _values(node: ast.AST) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, ast.Constant):
        for value in _other_constants(node.value):
            yield f"{node.value!r} -> {value!r} at {node.col_offset}", "value", value
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield f"{node.id} -> {_NAMES[node.id]}", "id", _NAMES[node.id]
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None", "value", ast.Constant(None)


def _flow(node: ast.AST) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        for value in (True, False):
            if not (isinstance(node, ast.While) and value):  # a loop without an end proves nothing more
                yield f"{type(node).__name__} {value}", "test", ast.Constant(value)
    elif isinstance(node, ast.ExceptHandler):
        yield "except raises again", "body", [ast.Raise()]


def _missing(node: ast.AST) -> Iterator[tuple[str, str, object]]:
    if isinstance(node, ast.Module | ast.ClassDef):
        return
    for field in ("body", "orelse", "finalbody"):
        found = getattr(node, field, None)
        statements: list[ast.stmt] = found if isinstance(found, list) else []
        for place, statement in enumerate(statements):
            if _can_go(statement):
                kept = [*statements[:place], ast.Pass(), *statements[place + 1 :]]
                yield f"without `{ast.unparse(statement).splitlines()[0]}` in {field} {place}", field, kept


def _can_go(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise | ast.Continue | ast.Break | ast.AugAssign):
        return True
    if isinstance(statement, ast.Assign):
        return isinstance(statement.targets[0], ast.Attribute)
    return isinstance(statement, ast.Expr) and not _nothing_hangs_on(statement)


def _other_constants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1]
    if isinstance(value, str) and _WORD.fullmatch(value):
        return [value + "x"]
    return []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


@dataclass(frozen=True)
class _Change:
    node: ast.AST
    field: str
    value: object

    def __call__(self) -> None:
        setattr(self.node, self.field, self.value)
