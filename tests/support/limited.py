# SPDX-License-Identifier: Apache-2.0
"""Verbs under limits of the kernel: `limited.py HOME`, a line of JSON in for each, and its answer out.

Each runs in a fork that has no descriptor but its three streams and no more than it is given; keepers and holders that
it starts are given no more either.
"""

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from chaosgpu.agent.main import main
from support.agent_entry import parts_for

__all__ = ["AS_A_PLAIN_USER", "A_PLAIN_USER", "Limited", "limited"]

A_PLAIN_USER = 61234
_RIGHTS = "-all,+dac_override"  # so that it may read an interpreter in root's home, and is bound by its limits
# root is bound by no number of processes. Whoever is not root is a plain user already, with processes of their own.
AS_A_PLAIN_USER: Sequence[str] = (
    [
        *("setpriv", f"--reuid={A_PLAIN_USER}", f"--regid={A_PLAIN_USER}", "--clear-groups"),
        *("--bounding-set", _RIGHTS, "--inh-caps", _RIGHTS, "--ambient-caps", _RIGHTS, "--"),
    ]
    if os.getuid() == 0
    else []
)
_LIMITS = {"files": resource.RLIMIT_NOFILE, "processes": resource.RLIMIT_NPROC}


class Limited:
    """Hands verbs to the process that limits them."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, verb: str, request: Mapping[str, object], **limits: int) -> Any:
        """Run one verb with no more `files` or `processes` than that; None where it could not even answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"verb": verb, "request": {"protocol": 1, **request}, "limits": limits}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def limited(home: Path, *, plain: bool = False) -> Iterator[Limited]:
    """Give the process that limits verbs, as a plain user where asked for."""
    words = [*(AS_A_PLAIN_USER if plain else []), sys.executable, __file__, str(home)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Limited(process)
        assert process.stdin is not None
        process.stdin.close()


def _run(home: Path, order: Any) -> bytes:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writing, 1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.closerange(3, 1024)
            for name, most in order["limits"].items():
                resource.setrlimit(_LIMITS[name], (most, resource.getrlimit(_LIMITS[name])[1]))
            raw = json.dumps(order["request"]).encode()
            environment = {**os.environ, "CHAOSGPU_AGENT_HOME": str(home)}
            with os.fdopen(1, "wb", closefd=False) as out:
                main([order["verb"]], io.BytesIO(raw), out, parts_for(home), environment)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    return answer


if __name__ == "__main__":
    here = Path(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write((_run(here, json.loads(line)) or b"null\n").decode())
        sys.stdout.flush()
