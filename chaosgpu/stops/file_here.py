# SPDX-License-Identifier: Apache-2.0
"""A file exists on the controller."""

from pathlib import Path
from typing import override

from chaosgpu.fleet.values import JsonObject
from chaosgpu.stops.contract import Leaf, Reading
from chaosgpu.stops.scene import Scene

__all__ = ["FileHere"]


class FileHere(Leaf):
    """A relative path counts from where the run was started."""

    name = "controller_file_exists"

    def __init__(self, params: JsonObject, scene: Scene) -> None:
        del scene
        self._path = Path(str(params["path"])).absolute()

    @override
    def __call__(self) -> Reading:
        try:
            self._path.stat()
        except FileNotFoundError:
            return Reading(met=False, text=f"there is no file {self._path}")
        return Reading(met=True, text=f"the file {self._path} exists")
