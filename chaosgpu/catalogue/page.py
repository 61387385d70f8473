# SPDX-License-Identifier: Apache-2.0
"""The page docs/catalogue.md, from the experiments' files: `python -m chaosgpu.catalogue.page > docs/catalogue.md`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from chaosgpu.catalogue.entries import FORMS, Entry, read_catalogue
from chaosgpu.catalogue.folder import catalogue_folder

__all__ = ["page"]

_HEAD = """# The catalogue

<!-- Written by `python -m chaosgpu.catalogue.page > docs/catalogue.md`; a test fails where they differ. -->

Experiments to run as they are, or to copy and change. Each re-plays a failure that the field knows and measures what
users get, never a health check alone. Each has two forms: against a service, or a way of running it, that breaks, and
against one that stands it. The fault is the same, or as near as can be. Each file is there as YAML and as JSON.

```console
$ chaosgpu catalogue
$ chaosgpu catalogue show gpu-memory-leak
$ chaosgpu catalogue copy gpu-memory-leak
$ chaosgpu lab run --variant fragile -- chaos run experiments/level-1/gpu-memory-leak-fragile.yaml
```

What a file says of itself is in its `extensions`, which Chaos Toolkit ignores. The finding is there for a machine,
too: `deviates` (which probe of the hypothesis may break, and with what) and `shows` (what steps of the method give).
`make catalogue-test` plays each of them in both forms and compares verdict and finding: the declared verdict for
another reason does not count. It goes on where it was, tries a play up to three times, and keeps each result with its
date, what was seen and how earlier tries ended in `figures/catalogue/played.json`. [Figures](figures.md) says how
many ended as declared, and which have not been played.

**Levels**: 1 a component, 2 a dependency, 3 infrastructure.
"""
_NEEDS = """
Needs: **lab** is `chaosgpu lab run` ([lab](lab.md)), with `--pipeline` [the pipeline](pipeline.md), with `--alerts`
[alerts](alerts.md); a **database** is a real one with a learned canary collection ([vectordb](vectordb.md)), its data
**on a disk of its own** where that is filled; **hosts** are machines with systemd and the agent in an inventory
([fleet](fleet.md)). Addresses come from the environment: see `configuration` in each file.
"""


def page(entries: Sequence[Entry]) -> str:
    """Return docs/catalogue.md."""
    parts = [
        _HEAD,
        "| level | experiment | steady state in | needs | fragile | hardened |",
        "|---|---|---|---|---|---|",
    ]
    parts += [_row(one) for one in entries]
    parts += [_NEEDS, *(_chapter(one) for one in entries)]
    return "\n".join(parts)


def _row(one: Entry) -> str:
    first = one.forms[0].declared
    found = [one.form(service) for service in FORMS]
    verdicts = ["none" if form is None else f"`{form.declared.expected_verdict}`" for form in found]
    link = f"[{one.name}](#{one.name})"
    return f"| {one.level} | {link} | {', '.join(first.steady_state)} | {first.needs} | {' | '.join(verdicts)} |"


def _chapter(one: Entry) -> str:
    lines = [f"## {one.name}", "", f"{one.forms[0].description}", "", f"- **Models**: {one.forms[0].declared.models}."]
    for form in one.forms:
        said = form.declared
        lines.append(
            f"- **{said.service.capitalize()}** (`{form.path.parent.name}/{form.path.name}`): {said.differs}. "
            f"`{said.expected_verdict}`: {said.expected_finding}."
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Print the page."""
    sys.stdout.write(page(read_catalogue(Path(catalogue_folder()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
