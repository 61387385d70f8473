# SPDX-License-Identifier: Apache-2.0
"""Where the experiments of the catalogue lie: in the package that is installed, or in the working tree."""

from pathlib import Path

from chaosgpu.errors import Refused

__all__ = ["catalogue_folder"]

_PACKAGE = Path(__file__).parents[1]


def catalogue_folder() -> Path:
    """Return the folder with `level-1` and the others."""
    for folder in (_PACKAGE / "experiments", _PACKAGE.parent / "experiments"):
        if (folder / "level-1").is_dir():
            return folder
    raise Refused(f"The catalogue's experiments are not installed with {_PACKAGE}: install chaostoolkit-gpu again.")
