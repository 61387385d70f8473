# SPDX-License-Identifier: Apache-2.0
"""Sign and check with ssh-keygen, which every host has: keys in files, in an agent or on a token."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import EvidenceBroken

__all__ = ["Checker", "sign", "ssh_checker"]

# Long enough to touch a token.
_SIGN_S = 60.0
_CHECK_S = 20.0

# Told message, signature, identity and namespace, it returns why the signature does not hold, or None.
type Checker = Callable[[bytes, bytes, str, str], str | None]


def sign(message: bytes, key: Path, namespace: str) -> bytes:
    """Sign with a private key without a passphrase, or with the agent's key whose public file is named."""
    done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", namespace], message, _SIGN_S)
    if done.code != 0 or not done.out.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        raise EvidenceBroken(
            f"ssh-keygen did not sign with {key}: {done.said}. Name a private key without a passphrase, or the public "
            "file of a key that your SSH agent holds."
        )
    return done.out


def ssh_checker(allowed_signers: Path, verify_time: str | None = None) -> Checker:
    """Return a checker that asks ssh-keygen, with the auditor's own file of signers; `verify_time` as it takes it."""
    if not allowed_signers.is_file():
        raise EvidenceBroken(f"There is no file of allowed signers {allowed_signers}; its form is in ssh-keygen(1).")
    at = [f"-Overify-time={verify_time}"] if verify_time else []

    def check(message: bytes, signature: bytes, identity: str, namespace: str) -> str | None:
        with tempfile.NamedTemporaryFile(prefix="chaosgpu-evidence-") as file:
            file.write(signature)
            file.flush()
            arguments = ["-Y", "verify", *at, "-f", str(allowed_signers), "-I", identity, "-n", namespace]
            done = _ssh_keygen([*arguments, "-s", file.name], message, _CHECK_S)
        return None if done.code == 0 else done.said

    return check


@dataclass(frozen=True)
class _Done:
    code: int
    out: bytes
    said: str


def _ssh_keygen(arguments: Sequence[str], message: bytes, deadline_s: float) -> _Done:
    """Run ssh-keygen with its own process group and a deadline; it asks nobody for a passphrase."""
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        child = subprocess.Popen(
            ["ssh-keygen", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise EvidenceBroken(f"ssh-keygen could not be started: {error.strerror}. Install OpenSSH's client.") from error
    with child:
        try:
            out, err = child.communicate(message, deadline_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return _Done(-1, b"", f"it did not answer within {deadline_s:g} s")
    lines = err.decode(errors="replace").strip().splitlines() or out.decode(errors="replace").strip().splitlines()
    return _Done(child.returncode, out, lines[-1].rstrip(".") if lines else f"exit code {child.returncode}")
