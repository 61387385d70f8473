# SPDX-License-Identifier: Apache-2.0
"""The house rules as functions over a tree of files: each returns what breaks the rule, as sentences."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPDX = "SPDX-License-Identifier: Apache-2.0"
# What imports Ansible's own code is under Ansible's licence, and kept apart.
ANSIBLE_FILES = ("chaosgpu/fleet/ansible_plugins/", "playbooks/action_plugins/")
ANSIBLE_SPDX = "SPDX-License-Identifier: GPL-3.0-or-later"
SOURCES = frozenset({".py", ".c", ".h", ".sh"})
TEXTS = SOURCES | {".md", ".toml", ".yaml", ".yml", ".json", ".cfg", ".txt", ""}
MAX_LINES = 400
ACTIVITY_MODULES = frozenset({"actions.py", "probes.py", "tolerances.py"})

# Where plain JSON meets Chaos Toolkit or ctypes: what comes in there has no type yet.
EDGE = frozenset({
    "chaosgpu/agent/cuda/library.py",  # ctypes function pointers
    "chaosgpu/agent/nvml/events.py",  # opaque handles of NVML
    "chaosgpu/controls/guard.py",  # Chaos Toolkit hands over plain dictionaries
})  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """Some files of a folder."""

    root: Path
    files: tuple[str, ...]

    def sources(self, under: str = "", suffixes: frozenset[str] = SOURCES) -> Iterator[tuple[str, str]]:
        """Yield name and text of the files with these endings below a folder."""
        for name in self.files:
            if name.startswith(under) and Path(name).suffix in suffixes:
                yield name, (self.root / name).read_text(encoding="utf-8")

    def modules(self, under: str = "") -> Iterator[tuple[str, ast.Module]]:
        """Yield name and syntax tree of the Python files below a folder."""
        for name, text in self.sources(under, frozenset({".py"})):
            yield name, ast.parse(text, filename=name)


def missing_licence(tree: Tree) -> list[str]:
    """Find source files whose first line (the second after `#!`) is not the licence."""
    found = []
    for name, text in tree.sources():
        lines = [line for line in text.splitlines()[:2] if not line.startswith("#!")]
        due = ANSIBLE_SPDX if name.startswith(ANSIBLE_FILES) else SPDX
        if not lines or due not in lines[0]:
            found.append(f"{name} does not begin with {due}")
    return found


def ansible_imports(tree: Tree) -> list[str]:
    """Find imports of Ansible's code outside the folder that is under its licence."""
    found = []
    for name, module in tree.modules():
        for node in ast.walk(module):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if not name.startswith(ANSIBLE_FILES) and any(one.split(".")[0] == "ansible" for one in names):
                found.append(f"{name}:{node.lineno} imports Ansible's code")
    return found


def too_long(tree: Tree) -> list[str]:
    """Find source files of more than 400 lines."""
    counted = ((name, text.count("\n")) for name, text in tree.sources())
    return [f"{name} has {count} lines" for name, count in counted if count > MAX_LINES]


def postponed_annotations(tree: Tree) -> list[str]:
    """Find activity modules whose types Chaos Toolkit would discover as "object"."""
    return [
        f"{name} postpones its annotations"
        for name, module in _activity_modules(tree)
        for node in module.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]


def helpers_among_activities(tree: Tree) -> list[str]:
    """Find what is in an activity module and is no function that an experiment may name."""
    found = []
    for name, module in _activity_modules(tree):
        public = _declared_all(module)
        for node in module.body:
            if isinstance(node, ast.FunctionDef):
                if public and node.name not in public:
                    found.append(f"{name} has a helper {node.name}")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = {target.id for target in targets if isinstance(target, ast.Name)}
                if not names <= {"__all__", "logger"}:
                    found.append(f"{name} defines {', '.join(sorted(names))}")
            elif not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
                found.append(f"{name} has a {type(node).__name__} at line {node.lineno}")
        if not public:
            found.append(f"{name} offers nothing in __all__")
    return found


def untyped_objects(tree: Tree) -> list[str]:
    """Find dict[str, Any] and Mapping[str, Any] outside the edge."""
    found = []
    for name, module in tree.modules("chaosgpu/"):
        if name in EDGE or Path(name).name in ACTIVITY_MODULES:
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
                holder = ast.unparse(node.value).rpartition(".")[2]
                inner = [ast.unparse(part).rpartition(".")[2] for part in node.slice.elts]
                if holder in {"dict", "Dict", "Mapping", "MutableMapping"} and inner == ["str", "Any"]:
                    found.append(f"{name}:{node.lineno} has {holder}[str, Any]")
    return found


def shells(tree: Tree) -> list[str]:
    """Find calls that hand a text to a shell."""
    forbidden = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
    found = []
    for name, module in tree.modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call):
                if ast.unparse(node.func) in forbidden:
                    found.append(f"{name}:{node.lineno} calls {ast.unparse(node.func)}")
                for keyword in node.keywords:
                    is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                    if keyword.arg == "shell" and not is_off:
                        found.append(f"{name}:{node.lineno} asks for a shell")
    return found


def asserts(tree: Tree) -> list[str]:
    """Find assert in production code, where `python -O` would drop it."""
    return [
        f"{name}:{node.lineno} asserts"
        for name, module in tree.modules("chaosgpu/")
        for node in ast.walk(module)
        if isinstance(node, ast.Assert)
    ]


def machine_paths(tree: Tree) -> list[str]:
    """Find paths of one machine, and the hosts of package registries."""
    # Each has a class of one letter in it, so that this file does not find itself.
    pattern = re.compile(r"/hom[e]/[a-z]|(?<![\w.$}~])/wor[k]/|index-ur[l]|pythonhoste[d]|artifactor[y]")
    found = []
    for name, text in tree.sources(suffixes=TEXTS):
        for number, line in enumerate(text.splitlines(), start=1):
            match = pattern.search(line)
            if match:
                found.append(f"{name}:{number} names {match.group()}")
    return found


def too_new_for_hosts(tree: Tree) -> list[str]:
    """Find syntax in the agent that Python 3.9 does not have."""
    found = []
    for name, text in tree.sources("chaosgpu/agent/", frozenset({".py"})):
        try:
            ast.parse(text, filename=name, feature_version=(3, 9))
        except SyntaxError as error:
            found.append(f"{name}:{error.lineno} {error.msg}")
    return found


def broad_excepts(tree: Tree) -> list[str]:
    """Find handlers that would swallow an interruption of the run. One that tidies up and raises on does not."""
    found = []
    for name, module in tree.modules("chaosgpu/"):
        for node in ast.walk(module):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                last = node.body[-1]
                raises_on = isinstance(last, ast.Raise) and last.exc is None
                if caught in {"everything", "Exception", "BaseException"} and not raises_on:
                    found.append(f"{name}:{node.lineno} catches {caught}")
    return found


def unexplained_exceptions(tree: Tree) -> list[str]:
    """Find lint exceptions without a reason: the first of each code in a file has it in brackets."""
    found = []
    for name, text in tree.sources(suffixes=frozenset({".py"})):
        explained: set[str] = set()
        for number, comment in _comments(text):
            match = re.match(r"# noqa(?:: ?([A-Z0-9, ]+))?(.*)", comment)
            if match:
                codes = set(re.findall(r"[A-Z]+[0-9]+", match[1] or ""))
                if re.match(r"\s*\(.+\)", match[2]):
                    explained |= codes
                if not codes or not codes <= explained:
                    found.append(f"{name}:{number} has {comment} without a reason")
    return found


def work_to_be_done(tree: Tree) -> list[str]:
    """Find comments that put work off."""
    return [
        f"{name}:{number} says {comment}"
        for name, text in tree.sources(suffixes=frozenset({".py"}))
        for number, comment in _comments(text)
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment)
    ]


def skipped_tests(tree: Tree) -> list[str]:
    """Find tests that may not be run, or may fail."""
    forbidden = {"skip", "skipif", "xfail", "importorskip", "skipTest"}
    return [
        f"{name}:{node.lineno} uses {ast.unparse(node)}"
        for name, module in tree.modules("tests/")
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr in forbidden
    ]


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _activity_modules(tree: Tree) -> Iterator[tuple[str, ast.Module]]:
    for name, module in tree.modules("chaosgpu/"):
        parts = Path(name).parts
        if parts[-1] in ACTIVITY_MODULES and len(parts) == 3:  # chaosgpu/AREA/actions.py
            yield name, module


def _declared_all(module: ast.Module) -> set[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()
