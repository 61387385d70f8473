# SPDX-License-Identifier: Apache-2.0
"""Which of the agent's files a fault's run depends on, read from their imports, and a digest of what they say.

What was struck stays true as long as these files say the same: the way of every lease, and the fault's own module
with all that it imports. The other faults have no part in it, though the registry loads them. Comments and
docstrings say nothing to Python. A test compares this with the files that a real run opens.
"""

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "chaosgpu.agent.main"
_REGISTRY = "chaosgpu.agent.faults.registry"
# Imported inside a function that no lease ever calls.
_NEVER = ("chaosgpu.agent.readings", "chaosgpu.agent.install")
_HOLDERS = "chaosgpu.agent.holders"
_SILENT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.ENCODING})
_LINE_ENDS = frozenset({tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING})


def files(module: str, *, holds: bool = True, root: Path = ROOT) -> list[Path]:
    """Return what is loaded for the fault in this module; `holds`: whether it has a holder."""
    never = (*_NEVER, _REGISTRY, *(() if holds else (_HOLDERS,)))
    found: dict[str, Path] = {}
    waiting = [ENTRY, module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if path is None or name in found or any(name == cut or name.startswith(cut + ".") for cut in never):
            continue
        found[name] = path
        waiting.extend(_imports(_source(path)))
    compiled = {source for path in found.values() for source in path.parent.glob("*.[ch]")}
    return sorted({*found.values(), *compiled})


def names(module: str, *, holds: bool = True) -> set[str]:
    """Return these files as the agent's folder has them."""
    return {str(path.relative_to(ROOT / "chaosgpu" / "agent")) for path in files(module, holds=holds)}


def digest(module: str, *, holds: bool = True, root: Path = ROOT) -> str:
    """Return a digest of what these files say."""
    total = hashlib.sha256()
    for path in files(module, holds=holds, root=root):
        text = _source(path)
        total.update(f"{path.relative_to(root)}\n{said(text) if path.suffix == '.py' else text}\n".encode())
    return total.hexdigest()[:16]


@functools.cache
def said(source: str) -> str:
    """Return a module's words without comments, docstrings and line breaks."""
    words: list[str] = []
    before = tokenize.ENCODING
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in _SILENT]
    for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        alone = before in _LINE_ENDS and after.type in (tokenize.NEWLINE, tokenize.ENDMARKER)
        if token.type != tokenize.STRING or not alone:
            words.append(token.string if token.type not in _LINE_ENDS else tokenize.tok_name[token.type])
        before = token.type
    return "\n".join(words)


def _file(name: str, root: Path) -> Path | None:
    if not name.startswith(("chaosgpu.agent", "support.")):
        return None
    base = (root / "tests" if name.startswith("support.") else root).joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


def _source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def _imports(source: str) -> tuple[str, ...]:
    return tuple(_named(source))


def _named(source: str) -> Iterator[str]:
    """Yield every module that a file names in an import, at whatever depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)  # from chaosgpu.agent import values
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("chaosgpu.agent.")
        ):
            yield node.value  # imported by its name
