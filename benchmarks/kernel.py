# SPDX-License-Identifier: Apache-2.0
"""Which files are the safety kernel, and how their lines are counted."""

import ast
import hashlib
import io
import tokenize
from pathlib import Path

__all__ = ["KERNEL", "MOST_LINES", "ROOT", "code_lines", "kernel_digest"]

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 500
# Record, lease, lock, revert, guard, and of the watchdog what decides: `why_over` and the loop that acts on it.
KERNEL = tuple(
    f"chaosgpu/agent/{name}.py"
    for name in ("record", "lease", "lock", "revert", "guard", "mend", "watchdog/watch", "watchdog/deadline")
)
_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def code_lines(source: str) -> int:
    """Count the lines that hold code: no blank ones, no comments, no docstrings; imports count."""
    texts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            texts.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            found.update(range(token.start[0], token.end[0] + 1))
    return len(found - texts)


def kernel_digest() -> str:
    """Return the digest of the kernel's sources: a proof of other sources proves nothing about these."""
    digest = hashlib.sha256()
    for name in KERNEL:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()
