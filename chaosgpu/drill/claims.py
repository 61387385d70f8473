# SPDX-License-Identifier: Apache-2.0
"""The claim of a drill on its hosts: names in the kernel, gone with the process, however it ends.

It keeps two drills of one machine apart. Between machines the claims on the hosts do: docs/drills.md.
"""

import contextlib
import hashlib
import socket
from collections.abc import Iterator, Sequence

from chaosgpu.errors import Refused
from chaosgpu.fleet.targets import LOCAL

__all__ = ["claimed"]

_PREFIX = "\0chaosgpu-drill-host-"


@contextlib.contextmanager
def claimed(hosts: Sequence[str], agent_home: str | None) -> Iterator[None]:
    """Hold the claim on each host; Refused where another drill of this machine has one of them.

    Under `agent_home`, as in a lab, this host is another one: only what was started under that home can be touched.
    """
    with contextlib.ExitStack() as held:
        for host in sorted(set(hosts)):
            name = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            which = f"{host}@{agent_home}" if agent_home and host == LOCAL else host
            try:
                # A name in the kernel has 107 bytes, that of a host may have more.
                name.bind(_PREFIX + hashlib.sha256(which.encode()).hexdigest())
            except OSError as error:
                raise Refused(
                    f"Another drill of this machine has the host {host}: wait for its end (chaosgpu drill status), or "
                    "stop it (chaosgpu drill stop). Nothing was started."
                ) from error
        yield
