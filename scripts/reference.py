# SPDX-License-Identifier: Apache-2.0
"""Write `docs/reference/` from the docstrings of what an experiment may name, as `chaos discover` reads them."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import chaosgpu

__all__ = ["FOLDER", "pages"]

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_HEAD = """# Reference: {area}

Written by `python scripts/reference.py` from the docstrings in `chaosgpu/{area}`.
"""


def pages() -> dict[str, str]:
    """Return each page by its file's name: one an area, as `chaosgpu.AREA.actions` and `chaosgpu.AREA.probes`."""
    found: Any = chaosgpu.discover()
    activities = sorted(found["activities"], key=lambda one: (_area(one), one["mod"], one["name"]))
    return {
        f"{area}.md": "\n".join([_HEAD.format(area=area), *map(_activity, several)])
        for area, several in groupby(activities, _area)
    }


def _area(activity: dict[str, Any]) -> str:
    return str(activity["mod"]).split(".")[1]


def _activity(activity: dict[str, Any]) -> str:
    doc = activity["doc"]
    start = doc.index("\n{") + 1  # the example is the only thing in a docstring whose line begins so
    _, end = json.JSONDecoder().raw_decode(doc, start)
    kind, returns = str(activity["type"]).capitalize(), activity.get("return_type", "anything")
    parts = [
        f"## {activity['name']}",
        f"{kind} of `{activity['mod']}`, returns {returns}.",
        _text(doc[:start]),
        f"```json\n{doc[start:end]}\n```",
        _arguments(activity["arguments"]),
        _text(doc[end:]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _arguments(arguments: list[dict[str, Any]]) -> str:
    rows = [f"| {one['name']} | {one['type']} | {_default(one)} |" for one in arguments]
    return "\n".join(["| argument | type | default |", "|---|---|---|", *rows]) if rows else ""


def _default(argument: dict[str, Any]) -> str:
    return f"`{json.dumps(argument['default'])}`" if "default" in argument else "required"


def _text(plain: str) -> str:
    """Keep what is plain text in a docstring from being taken for markup."""
    for sign in "<*|":
        plain = plain.replace(sign, f"\\{sign}")
    return plain.strip()


def main() -> int:
    """Write every page that is not as the docstrings say, and remove those of areas that are gone."""
    FOLDER.mkdir(exist_ok=True)
    written = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(written)} pages in {FOLDER}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
