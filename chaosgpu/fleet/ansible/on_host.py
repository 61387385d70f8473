# SPDX-License-Identifier: Apache-2.0
"""The one command that runs on a host, and what it prints: several errands of its agent, one after the other."""

import re
import shlex
from collections.abc import Sequence

from chaosgpu.fleet.transports import Reply

__all__ = ["ENDED", "command", "documents", "install", "split"]

# What `timeout` says where it ended the command.
ENDED = 124
# Its words are its arguments, never a part of its text. The second line is run by the first, which ends it and all that
# it started, also where nobody is left who waits. Without `timeout` a loop of the shell's does that.
_BOUNDED = (
    'within=$1 errands=$2; shift 2; command -v timeout >/dev/null && exec timeout -k 5 "$within" /bin/sh -c "$errands" '
    'chaosgpu "$@"; apart= group=; command -v setsid >/dev/null && apart=setsid group=-; exec 3<&0; '
    '$apart /bin/sh -c "$errands" chaosgpu "$@" <&3 & pid=$!; '
    '{ while [ "$within" -gt 0 ]; do sleep 1; kill -0 "$pid" || exit; within=$((within - 1)); done; '
    'kill -TERM "$group$pid"; sleep 5; kill -KILL "$group$pid"; } >/dev/null 2>&1 3<&- & '
    'wait "$pid"'
)
# A document is one line of standard input, so that none waits for an end that a cut connection never brings. As root
# the agent is run at once (become, or root's own login), else by the one line in sudoers. Behind each answer both
# streams get the mark, and the first the agent's own status. `printf` is the shell's own, so no list of processes shows
# what it prints. A verb may be two words: it is one of a list.
_ERRANDS = (
    'agent=$1 digest=$2 mark=$3; shift 3; [ -f "$agent" ] || exit 90; '
    '[ "$(id -u)" = 0 ] && by= || by="sudo -n"; '
    'while [ "$#" -gt 0 ]; do IFS= read -r document || exit 96; '
    'if [ "$2" = ours ]; then found=$(sha256sum <"$agent") || exit 92; '
    '[ "${found%% *}" = "$digest" ] || { echo "${found%% *}" >&2; exit 91; }; fi; '
    'printf "%s\\n" "$document" | $by "$agent" $1; status=$?; '
    '[ "$status" = 0 ] || [ -z "$by" ] || sudo -n -l "$agent" $1 >/dev/null 2>&1 </dev/null || exit 93; '
    'case $status in 126 | 127) exit "$status" ;; esac; '
    'printf "\\n%s %s\\n" "$mark" "$status"; printf "\\n%s\\n" "$mark" >&2; shift 2; done'
)
_INSTALL = 'install -D -o root -g root -m 0755 "$2" "$1.new" && mv "$1.new" "$1"'


def command(agent: str, errands: Sequence[tuple[str, bool]], digest: str, mark: str, within_s: int) -> str:
    """Return the one command for a host: its errands are a verb each, and whether only our own agent may do it."""
    words = [word for verb, ours in errands for word in (verb, "ours" if ours else "any")]
    return shlex.join(
        ["/bin/sh", "-c", _BOUNDED, "chaosgpu", str(within_s), _ERRANDS, agent, digest, mark, *words],
    )


def documents(whole: Sequence[bytes]) -> bytes:
    """Return what the command reads: one line a document."""
    return b"".join(document.replace(b"\n", b" ") + b"\n" for document in whole)


def install(agent: str) -> str:
    """Return the command that makes a file, whose name follows, the agent of a host; it needs root."""
    return f"{shlex.join(['/bin/sh', '-c', _INSTALL, 'chaosgpu', agent])} "


def split(whole: Reply, mark: str) -> list[Reply]:
    """Return the reply to each errand that came to its end, and then what is left of the command's own."""
    parts = re.split(rf"\n{mark} (\d+)\n".encode(), whole.stdout)
    outs, statuses = parts[::2], [*map(int, parts[1::2]), whole.status]
    said = whole.stderr.split(f"\n{mark}\n".encode()) + [b""] * len(outs)
    return [Reply(*one) for one in zip(statuses, outs, said[: len(outs)], strict=True)]
