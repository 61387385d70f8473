# SPDX-License-Identifier: Apache-2.0
"""An environment in which the package is installed, so that tests run what users would run."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DISTRIBUTION = "chaostoolkit-gpu"


@dataclass(frozen=True)
class Installed:
    """An environment in which the package is installed, and a folder to run things in."""

    python: Path
    folder: Path

    def run(self, *arguments: str) -> str:
        """Run Python there and return what it printed; a failure shows what it said."""
        ended = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout
