# SPDX-License-Identifier: Apache-2.0
"""Where our Ansible playbooks lie: in the package that is installed, or in the working tree."""

from pathlib import Path

from chaosgpu.errors import Refused

__all__ = ["playbooks_folder"]

_PACKAGE = Path(__file__).parents[1]


def playbooks_folder() -> Path:
    """Return the folder with provision.yml and the others."""
    for folder in (_PACKAGE / "playbooks", _PACKAGE.parent / "playbooks"):
        if (folder / "provision.yml").is_file():
            return folder
    raise Refused(f"The playbooks are not installed with {_PACKAGE}: install chaostoolkit-gpu again.")
