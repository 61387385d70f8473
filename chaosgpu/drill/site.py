# SPDX-License-Identifier: Apache-2.0
"""What a site demands of every drill: a file of its own, which no plan can weaken."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chaosgpu.drill.planfile import Loader, sentence_of
from chaosgpu.errors import BadArgument
from chaosgpu.evidence.log import home

__all__ = ["SYSTEM_SITE", "ChangeCheck", "Site", "read_site"]

SYSTEM_SITE = Path("/etc/chaosgpu/site.yaml")
_VARIABLE = "CHAOSGPU_SITE"

type Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChangeCheck(_Strict):
    """The site's own command that says whether a change may be made; `{change_id}` stands for it in a word."""

    command: list[Text] = Field(min_length=1)
    within_s: float = Field(default=20, gt=0, le=300)


class Site(_Strict):
    """The settings of a site; paths are from the folder of its file."""

    # The evidence log's folder ($CHAOSGPU_EVIDENCE, else .chaosgpu/evidence), and where the state of drills is kept.
    evidence: Text | None = None
    drills: Text = ".chaosgpu/drills"
    # Whose signatures count (ssh-keygen(1), ALLOWED SIGNERS): never named by a plan.
    allowed_signers: Text | None = None
    # At least so many, whatever a plan says.
    approvals: int = Field(default=1, ge=0, le=10, strict=True)
    change_check: ChangeCheck | None = None
    # A passed drill of the level below counts for so long.
    level_counts_days: int = Field(default=365, ge=1, strict=True)
    folder: Path = Field(default=Path(), exclude=True)
    # The file that says all this; None where the defaults count.
    file: Path | None = Field(default=None, exclude=True)

    @property
    def evidence_log(self) -> Path:
        """Where the evidence log is."""
        return home() if self.evidence is None else self.path(self.evidence)

    def path(self, name: str) -> Path:
        """Return a path that the file gives."""
        return (self.folder / name).absolute()


def read_site(given: Path | None, environment: Mapping[str, str] = os.environ) -> Site:
    """Read the file that is given, or that of $CHAOSGPU_SITE, or the system's; without one the defaults count."""
    named = given or (Path(environment[_VARIABLE]) if environment.get(_VARIABLE) else None)
    path = named or SYSTEM_SITE
    try:
        document = yaml.load(path.read_bytes().decode(), Loader)  # noqa: S506 (a safe loader)
    except FileNotFoundError as error:
        if named is None:
            return Site()
        raise BadArgument(f"The site's settings {path} do not exist: name another file.") from error
    except OSError as error:
        raise BadArgument(f"The site's settings {path} could not be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise BadArgument(f"The site's settings {path} are no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(document, dict) or {"folder", "file"} & document.keys():
        raise BadArgument(f"The site's settings {path} must be an object with keys such as evidence, allowed_signers.")
    try:
        return Site.model_validate({**document, "folder": path.absolute().parent, "file": path.absolute()})
    except ValidationError as error:
        raise BadArgument(f"The site's settings {path} cannot be used: {sentence_of(error, Site)}") from error
