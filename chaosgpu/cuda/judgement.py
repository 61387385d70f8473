# SPDX-License-Identifier: Apache-2.0
"""What the answers of hosts amount to, printed: the end of `drift scan` and `drift explain`."""

import datetime as dt
import json
import sys
from typing import TYPE_CHECKING

from chaosgpu.cuda.answers import Answers
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.report import as_json, as_text
from chaosgpu.cuda.scan import scan

if TYPE_CHECKING:
    from chaosgpu.cuda.lock import Lock

__all__ = ["judge", "load"]


def judge(answers: Answers, lock: "Lock | None", *, as_json_text: bool, explain: bool) -> int:
    """Print what a scan of these answers finds, and return its code."""
    found = scan(answers, lock, compatibility(), dt.datetime.now(dt.UTC).date())
    if as_json_text:
        sys.stdout.write(json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(as_text(found, explain=explain))
    return found.exit_code


def load() -> None:
    """Read what ships with this program and is judged by, which takes a while the first time."""
    compatibility()
