# SPDX-License-Identifier: Apache-2.0
"""Secret canaries: how programs spell them, by which channels they come, and a finder that shares no code with ours."""

import base64
import html
import json
import quopri
import re
import shlex
import textwrap
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from chaosgpu.lease.directory import write_json
from chaosgpu.lease.ledger import Ledger

_FRONTS = ("", "p@ss/", "a+b&", 'q"uo\\te', "ü-")
CANARIES = tuple(
    f"{_FRONTS[number % 5]}cnry{number:02d}{sha256(str(number).encode()).hexdigest()[:10]}" for number in range(60)
)
_ONCE = {
    "plain": lambda secret: secret,
    "in a sentence": lambda secret: f"could not log in with {secret}, so nothing was done",
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 behind a user": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "base64 behind two signs": lambda secret: base64.b64encode(f"ab{secret}zz".encode()).decode(),
    "base64url": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "URL-quoted": lambda secret: quote(secret, safe=""),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "HEXADECIMAL": lambda secret: secret.encode().hex().upper(),
    "inside JSON": lambda secret: json.dumps({"password": secret, "user": "x"}),
    "inside JSON inside JSON": lambda secret: json.dumps(json.dumps({"k": secret})),
}
_MORE = {
    "URL-quoted twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "every byte quoted": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "base64 twice": lambda secret: base64.b64encode(base64.b64encode(secret.encode())).decode(),
    "base64 over lines": lambda secret: "\n".join(textwrap.wrap(base64.b64encode(secret.encode()).decode(), 9)),
    "UTF-16 in base64": lambda secret: base64.b64encode(secret.encode("utf-16-le")).decode(),
    "base32": lambda secret: base64.b32encode(secret.encode()).decode(),
    "hexadecimal with colons": lambda secret: secret.encode().hex(":"),
    "hexadecimal over lines": lambda secret: "\n  ".join(textwrap.wrap(secret.encode().hex(), 8)),
    "escaped for C": lambda secret: "".join(f"\\x{byte:02x}" for byte in secret.encode()),
    "escaped for JavaScript": lambda secret: "".join(f"\\u{ord(sign):04x}" for sign in secret),
    "escaped for HTML": html.escape,
    "as numbers of HTML": lambda secret: "".join(f"&#{ord(sign)};" for sign in secret),
    "quoted for a shell": lambda secret: f"login --password {shlex.quote(secret)}",
    "as Python's repr": repr,
    "quoted-printable": lambda secret: quopri.encodestring(secret.encode()).decode(),
    "split over lines": lambda secret: f"{secret[:7]}\n{secret[7:12]}\n{secret[12:]}",
}
# Over line ends only export looks.
WHILE_WRITING: Mapping[str, Callable[[str], str]] = {
    **_ONCE,
    **{name: spell for name, spell in _MORE.items() if "over lines" not in name},
}
EVERYWHERE: Mapping[str, Callable[[str], str]] = {**_ONCE, **_MORE}


def channels(said: str, number: int) -> Mapping[str, Any]:
    """Return where programs put what they are told: each a part of a record."""
    return {
        "argv": {"invocation": {"module_args": {"argv": ["mysql", f"-p{said}"]}}},
        "environment": {"environ": {"DB_TOKEN": said}},
        "stdout": {"stdout": f"connecting…\n{said}\nok", "rc": 0},
        "stderr": {"stderr_lines": [f"denied: {said}"]},
        "exception": {"exception": f"Traceback (most recent call last):\n  ValueError: bad credential {said}"},
        "URL": {"url": f"https://user:{said}@db.lab/x", "query": f"https://db.lab/?key={said}&x=1"},
        "header": {"headers": {"X-Api": said, "Cookie": f"a=1; session={said}; b=2"}},
        "key": {f"label_{said}": 1},
        "metric label": {"line": f'requests_total{{tenant="{said}"}} 17'},
        "commit message": {"log": f"commit 0{number}\n\n    rotate {said}\n"},
    }


def write_run(folder: Path, spellings: Mapping[str, Callable[[str], str]]) -> int:
    """Write a run through which every canary has come by every channel; return how often one was written."""
    folder.mkdir(parents=True)
    (folder / "series").mkdir()
    (folder / "lifecycle").mkdir()
    ledger = Ledger(folder / "ledger.jsonl", folder.name, lambda: datetime.now(UTC))
    ledger.append("run.planned", title="canaries", experiment_sha256="0" * 64, dry=None, hits=[])
    journal: list[Any] = []
    names, count = list(spellings), 0
    for number, secret in enumerate(CANARIES):
        for place, channel in enumerate(channels(secret, number)):
            name = names[(number + place * 7) % len(names)]
            said = channels(spellings[name](secret), number)[channel]
            count += 1
            if place % 2:
                ledger.append(
                    "probe", name=channel, kind="probe", phase="method", status="failed", output=said, error=None
                )
            else:
                journal.append({"activity": {"name": channel}, "output": said, "status": "succeeded"})
    write_json(folder / "journal.json", {"run": journal, "chaosgpu": {"verdict": "passed"}})
    write_json(folder / "hosts" / "gpu1" / "before.json", {"facts": {"units": [channels(CANARIES[7], 7)]}})
    ledger.append("run.finished", verdict="passed", reason=f"the password {CANARIES[3]} was right")
    return count


def write_past_us(folder: Path) -> int:
    """Write what other programs leave in a run directory, where nobody redacts: plain text, names, a torn line."""
    spelled = list(EVERYWHERE.values())
    for number, secret in enumerate(CANARIES):
        said = spelled[number % len(spelled)](secret)
        (folder / "lifecycle" / f"out-{number}.txt").write_text(f"$ login\n{said}\n$\n")
    (folder / "series" / f"watch-{CANARIES[0]}.jsonl").write_text(json.dumps({"at_s": 1, "l": CANARIES[2]}) + "\n")
    with (folder / "ledger.jsonl").open("ab") as file:
        file.write(b'{"seq": 99, "said": "' + CANARIES[5].encode())
    return len(CANARIES) + 3


def found(files: Mapping[str, bytes]) -> list[str]:
    """Return which canaries are in files or their names, however they are spelled: decode, then look for the core."""
    cores = {canary[-12:]: canary for canary in CANARIES}
    seen = []
    for name, content in files.items():
        views = set(_views(f"{name}\n{content.decode(errors='replace')}", depth=3))
        seen += [f"{canary} in {name}" for core, canary in cores.items() if any(core in view for view in views)]
    return seen


def _views(source: str, depth: int) -> Iterator[str]:
    """Yield a text, and what it is when it is decoded."""
    yield source.lower()
    joined = re.sub(r"(?:\s|\\n|=\n)+", "", source)
    yield joined.lower()
    if not depth:
        return
    for text in (source, joined):
        yield re.sub(r"\\+u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), text).lower()
        yield re.sub(r"\\+x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text).lower()
        yield html.unescape(text).lower()
        yield unquote(unquote(unquote(text))).lower()
        yield re.sub(r"=([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text).lower()
        for decoded in _decoded(text):
            yield from _views(decoded, depth - 1 if len(decoded) > 12 else 0)


def _decoded(text: str) -> Iterator[str]:
    """Yield what runs of base64, base32 and hexadecimal digits stand for, from each offset."""
    for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", text):
        for offset in range(4):
            part = run[offset:].replace("-", "+").replace("_", "/")
            part = part if len(part) % 4 != 1 else part[:-1]
            raw = base64.b64decode(part + "=" * (-len(part) % 4))
            yield raw.decode("latin-1")
            yield raw.replace(b"\0", b"").decode("latin-1")
    for run in re.findall(r"[A-Z2-7]{16,}", text):
        yield base64.b32decode(
            run[: len(run) // 8 * 8] if len(run) % 8 in (1, 3, 6) else run + "=" * (-len(run) % 8)
        ).decode("latin-1")
    for run in re.findall(r"(?:[0-9a-fA-F]{2}[:,]?){12,}", text):
        digits = re.sub(r"[:,]", "", run)
        for offset in range(2):
            part = digits[offset:]
            yield bytes.fromhex(part[: len(part) // 2 * 2]).decode("latin-1")
