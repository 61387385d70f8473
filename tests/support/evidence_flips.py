# SPDX-License-Identifier: Apache-2.0
"""Ask the verifier about a great many bundles: an SSH signature is checked once for the same bytes."""

from collections.abc import Mapping

from chaosgpu.evidence.keygen import Checker, ssh_checker
from chaosgpu.evidence.verify import Trust, verify
from support.evidence_world import SIGNER, World


class Oracle:
    """Says whether a bundle is accepted."""

    def __init__(self, world: World) -> None:
        self._ask: Checker = ssh_checker(world.allowed)
        self._known: dict[tuple[bytes, bytes, str, str], str | None] = {}
        self._trust = Trust(self._check, SIGNER)

    def accepts(self, files: Mapping[str, bytes]) -> bool:
        """Tell whether nothing is wrong with it and nothing missing."""
        found = verify(files, self._trust)
        return not found.problems and not found.missing

    def _check(self, message: bytes, signature: bytes, identity: str, namespace: str) -> str | None:
        asked = (message, signature, identity, namespace)
        if asked not in self._known:
            self._known[asked] = self._ask(*asked)
        return self._known[asked]


def flips(content: bytes, place: int, bits: int) -> bytes:
    """Return the bytes with one of them changed."""
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]
