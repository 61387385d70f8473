# SPDX-License-Identifier: Apache-2.0
"""Build the agent as one file that runs on Python 3.9 and later with nothing installed: `python agent.pyz VERB`.

`python -m chaosgpu.agent.zipapp OUTPUT`. The same sources give the same bytes, so its digest names its version.
"""

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import Dict

__all__ = ["build"]

_SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold
# Without the site module and the user's own paths: a broken Python on the host must not keep an undo from running.
_MAIN = b"""# SPDX-License-Identifier: Apache-2.0
import os
import sys

if sys.argv[1:] and sys.argv[1] in ("packages", "service"):
    from chaosgpu.agent.rooms import enter

    sys.exit(enter(sys.argv[1:]))

from chaosgpu.agent import compiled

here = os.path.abspath(sys.argv[0])
if sys.argv[1:2] == ["compile"]:
    from chaosgpu.agent.compiling import compile_agent

    sys.exit(compile_agent(here, sys.argv[2:]))
if sys.argv[1:2] and sys.argv[1] in compiled.READS:
    compiled.prefer(here)

from chaosgpu.agent.main import Parts, main

parts = Parts(command=(sys.executable, "-I", "-S", here))
if sys.argv[1:2] == ["self-drill"]:
    from chaosgpu.agent.triggers.command import run

    sys.exit(run(sys.argv[2:], parts.command))
sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, parts))
"""


def build(output: Path) -> Path:
    """Write the zipapp and return its path."""
    files = _sources()
    unfinished = output.with_name(output.name + ".new")
    with unfinished.open("wb") as file:
        file.write(_SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(files.items()):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
    unfinished.chmod(0o755)
    unfinished.replace(output)
    return output


def _sources() -> Dict[str, bytes]:
    agent = Path(__file__).parent
    files = {"__main__.py": _MAIN, "chaosgpu/__init__.py": (agent.parent / "__init__.py").read_bytes()}
    for path in (*agent.rglob("*.py"), *agent.glob("shim/*.[ch]")):
        files[f"chaosgpu/agent/{path.relative_to(agent).as_posix()}"] = path.read_bytes()
    pynvml = importlib.util.find_spec("pynvml")
    if pynvml is None or pynvml.origin is None:
        raise FileNotFoundError("The module pynvml is not installed here: pip install nvidia-ml-py, then build again.")
    files["pynvml.py"] = Path(pynvml.origin).read_bytes()
    return files


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
