# SPDX-License-Identifier: Apache-2.0
"""Which room may import which, read from the syntax trees: areas to lease to fleet, and over a process to the agent."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from unit.house_rules import Tree

AREAS = frozenset({"alerts", "cuda", "gpu", "host", "metrics", "traffic", "triton", "vectordb"})
_BELOW = frozenset({"errors", "lease", "fleet"})

# Each room and the rooms that it may import; itself goes without saying. A new room needs a line here.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "agent": frozenset(),
    "errors": frozenset(),
    "fleet": frozenset({"errors"}),
    "lease": frozenset({"errors", "fleet"}),
    **dict.fromkeys(AREAS, _BELOW),
    # Requests to a model and the judge of their answers are the canary's; so is one HTTP exchange with a deadline.
    "traffic": _BELOW | {"triton"},
    "metrics": _BELOW | {"triton"},
    # An alert is told from when the fault began, which the phases of the traffic know.
    "alerts": _BELOW | {"traffic"},
    # Its activities alone are a face of what stands above it.
    "fleet.actions": frozenset({"fleet", "lifecycle"}),
    # What is done to hosts around an experiment stands above the areas: it compares their facts.
    "lifecycle": frozenset({"errors", "lease", "fleet", "cuda"}),
    "controls": frozenset({"errors", "lease", "fleet", "stops", "lifecycle"}),
    "evidence": frozenset({"errors", "fleet", "lease"}),
    "drill": frozenset({"errors", "fleet", "lease", "evidence"}),
    "catalogue": frozenset({"errors"}),
    "stops": frozenset({"errors", "lease", "fleet"}),
    "lint": frozenset({"errors", "stops", "lifecycle"}),
    "sim": frozenset({"errors"}),
    # The crash test starts the agent as a program, and runs what is not struck itself in its own process.
    "selfdrill": frozenset({"errors", "agent"}),
    "lab": frozenset({"errors", "sim", "triton", "traffic", "vectordb", "lease", "fleet"}),
    "cli": frozenset(
        {
            "selfdrill",
            "errors",
            "sim",
            "lab",
            "lint",
            "lease",
            "fleet",
            "agent",
            "cuda",
            "gpu",
            "triton",
            "vectordb",
            "controls",
            "lifecycle",
            "evidence",
            "drill",
            "catalogue",
        }
    ),
}
# Words of the protocol are shared over the process boundary, and nothing that does anything: those for JSON values,
# the names and parameters of the host's stop conditions with the check of a tree of them, and what an approval says
# with who is who among those that sign it.
SHARED = frozenset(
    {"chaosgpu.agent.values"}
    | {f"chaosgpu.agent.stops.{name}" for name in ("contract", "registry", "tree")}
    | {f"chaosgpu.agent.approvals.{name}" for name in ("people", "statement")}
)


def broken_arrows(tree: Tree) -> list[str]:
    """Find imports against the arrows between the rooms."""
    found = []
    for name, line, module in _imports(tree):
        room, other = _room_of_file(name), _room(module)
        if room is None or other is None or other == room or module in SHARED:
            continue
        if room not in MAY_IMPORT:
            found.append(f"{name}: the room {room} has no line in MAY_IMPORT")
        elif other not in MAY_IMPORT[room]:
            found.append(f"{name}:{line} imports {module}")
    return found


def foreign_to_the_agent(tree: Tree) -> list[str]:
    """Find imports of the agent that are not the standard library, pynvml or the agent itself."""
    found = []
    for name, line, module in _imports(tree, "chaosgpu/agent/"):
        top = module.partition(".")[0]
        if module.startswith("chaosgpu"):
            if _room(module) != "agent":
                found.append(f"{name}:{line} imports {module}")
        elif top not in sys.stdlib_module_names and top != "pynvml":
            found.append(f"{name}:{line} imports {module}")
    return found


def _imports(tree: Tree, under: str = "chaosgpu/") -> Iterator[tuple[str, int, str]]:
    """Yield file, line and full name of what is imported, at whatever depth of the file."""
    for name, module in tree.modules(under):
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield name, node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                package = ".".join(Path(name).parts[: -node.level]) + "." if node.level else ""
                base = f"{package}{node.module or ''}".strip(".")
                if base == "chaosgpu":  # from chaosgpu import sim
                    for alias in node.names:
                        yield name, node.lineno, f"chaosgpu.{alias.name}"
                else:
                    yield name, node.lineno, base


def _room_of_file(name: str) -> str | None:
    parts = Path(name).parts
    if parts[:3] == ("chaosgpu", "lab", "models"):
        return None  # runs inside Triton, with none of this package
    if parts == ("chaosgpu", "fleet", "actions.py"):
        return "fleet.actions"
    return Path(parts[1]).stem if len(parts) > 1 and parts[1] != "__init__.py" else None


def _room(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "chaosgpu" or len(parts) == 1 or parts[1].startswith("__"):
        return None
    return parts[1]
