# SPDX-License-Identifier: Apache-2.0
"""The driver of one apply, which remembers which NVIDIA library answered: the undo must find the same one."""

from typing import Optional, Tuple

from chaosgpu.agent import values
from chaosgpu.agent.errors import DriverFailed
from chaosgpu.agent.host import ClosableDriver
from chaosgpu.agent.values import JsonObject, JsonValue

__all__ = ["NotedDriver", "simulator_of"]


class NotedDriver:
    """A driver that says which library answered, once it was used."""

    def __init__(self, driver: ClosableDriver) -> None:
        self._driver = driver
        self._used = False
        self._library: Optional[JsonObject] = None

    def call(self, name: str, *arguments: JsonValue) -> JsonValue:
        """Pass the call on."""
        self._used = True
        return self._driver.call(name, *arguments)

    def library(self, claims: Tuple[str, ...]) -> Optional[JsonObject]:
        """Return {"path", "sha256", "simulator"}, or None where the fault needs no GPU."""
        if self._library is None and (self._used or any(claim.startswith("gpu:") for claim in claims)):
            found = self.call("library_in_use")
            if not isinstance(found, dict):
                raise DriverFailed(f"The driver did not say which library it is: {found!r}.")
            self._library = found
        return self._library

    def close(self) -> None:
        """End it."""
        self._driver.close()


def simulator_of(library: Optional[JsonObject]) -> Optional[str]:
    """Return the simulator's instance behind a library, None for a real driver or where there is none."""
    return None if library is None else values.optional_text(library, "simulator")
