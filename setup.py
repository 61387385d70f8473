# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml cannot say: playbooks and experiments lie beside the package and are installed inside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithPlaybooks(build_py):
    """Copies `playbooks/` and `experiments/` into the package; an editable install finds them where they are."""

    def run(self) -> None:
        """Build as ever, then copy."""
        super().run()
        if not self.editable_mode:
            for folder in ("playbooks", "experiments"):
                target = Path(self.build_lib) / "chaosgpu" / folder
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))


setup(cmdclass={"build_py": WithPlaybooks})
