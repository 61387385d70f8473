# SPDX-License-Identifier: Apache-2.0
"""Ask ssh-keygen whether a signature holds. Nothing is written to a disk, so nothing can be left on one."""

import os
import re
import signal
import subprocess
from typing import Optional, Tuple

from chaosgpu.agent.approvals.statement import NAMESPACE
from chaosgpu.agent.errors import Unanswered

__all__ = ["key_of", "ssh_keygen"]

_KEY = re.compile(r"key (SHA256:[A-Za-z0-9+/]{43})")
_PLACES = ("/usr/bin/ssh-keygen", "/usr/local/bin/ssh-keygen", "/bin/ssh-keygen")
# The times in the allowed signers are read as UTC, as the controller reads them.
_PLAIN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_WITHIN_S = 20.0


def ssh_keygen() -> Optional[str]:
    """Return this host's ssh-keygen, or None where there is none."""
    return next((path for path in _PLACES if os.path.exists(path)), None)  # noqa: PTH110 (pathlib costs 9 ms at start)


def key_of(signers: bytes, by: str, statement: bytes, signature: bytes) -> Tuple[Optional[str], str]:
    """Return the fingerprint of the key with which `by` has signed the statement, or None and what was said."""
    program = ssh_keygen()
    if program is None:
        raise Unanswered("This host has no ssh-keygen, so no approval can be checked: install the OpenSSH client.")
    held = [_in_memory(name, content) for name, content in (("signers", signers), ("signature", signature))]
    try:
        known, signed = (f"/dev/fd/{descriptor}" for descriptor in held)
        words = [program, "-Y", "verify", "-f", known, "-s", signed, "-n", NAMESPACE, "-I", by]
        status, said = _run(words, statement, held)
    finally:
        for descriptor in held:
            os.close(descriptor)
    key = _KEY.search(said)
    first = said.strip().splitlines()[0] if said.strip() else "ssh-keygen said nothing"
    return (key[1] if status == 0 and key is not None else None), first


def _in_memory(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(name)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


def _run(words: "list[str]", given: bytes, held: "list[int]") -> Tuple[int, str]:
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd="/", env=_PLAIN, pass_fds=held, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise Unanswered(f"{words[0]} could not be started: {error.strerror}.") from error
    with child:
        try:
            out, _ = child.communicate(given, timeout=_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise Unanswered(f"{words[0]} did not answer within {_WITHIN_S:g} s, and was ended.") from error
        finally:
            if child.poll() is None:  # late, or we were interrupted: nobody waits for it any more
                os.killpg(child.pid, signal.SIGKILL)
    return child.returncode, out.decode(errors="replace")
