# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu catalogue`: the experiments that come with chaosgpu: list them, show one, copy one."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosgpu.catalogue.entries import Entry

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the subcommand and its verbs."""
    parser = subparsers.add_parser(
        "catalogue",
        help="the experiments that come with chaosgpu: list, show, copy",
        description="List the experiments that come with chaosgpu; docs/catalogue.md has the same and more.",
        epilog="Exit code: 0 done, 2 there is no such experiment, or a file is there already.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    show = verbs.add_parser("show", help="what one models, needs and finds, in both forms")
    copy = verbs.add_parser("copy", help="copy both forms of one here, to change them")
    copy.add_argument("--to", type=Path, default=Path(), help="the folder to copy to (default: this one)")
    for verb in (show, copy):
        verb.add_argument("name", help="as in the list")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run one verb."""
    from chaosgpu.catalogue.entries import entry, read_catalogue  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.catalogue.folder import catalogue_folder  # noqa: PLC0415 (likewise)

    folder = catalogue_folder()
    if args.verb == "copy":
        return _copy(entry(folder, args.name), args.to)
    chosen = (entry(folder, args.name),) if args.verb == "show" else read_catalogue(folder)
    if args.json:
        _write(json.dumps([_as_json(one) for one in chosen], indent=2, ensure_ascii=False))
    elif args.verb == "show":
        _show(chosen[0])
    else:
        _list(chosen)
    return 0


def _list(entries: "Sequence[Entry]") -> None:
    """Print two lines an experiment, under its level."""
    level = 0
    for one in entries:
        if one.level != level:
            level = one.level
            _write(f"level {level}")
        verdicts = ", ".join(f"{form.declared.service} {form.declared.expected_verdict}" for form in one.forms)
        _write(f"  {one.name:<26} {verdicts}; needs {one.forms[0].declared.needs}")
        _write(f"  {'':<26} {one.forms[0].declared.models}")


def _show(one: "Entry") -> None:
    """Print one experiment."""
    first = one.forms[0].declared
    _write(f"{one.name}  (level {one.level})")
    _write(f"models        {first.models}")
    _write(f"steady state  {', '.join(first.steady_state)}")
    _write(f"needs         {first.needs}")
    for form in one.forms:
        said = form.declared
        _write(f"{said.service:<13} {form.title}")
        _write(f"              {said.differs}")
        _write(f"              expected: {said.expected_verdict}: {said.expected_finding}")
        _write(f"              {form.path}")


def _copy(one: "Entry", to: Path) -> int:
    """Copy the YAML files; none is written over."""
    from chaosgpu.errors import BadArgument, Refused  # noqa: PLC0415 (other subcommands need none of it)

    if not to.is_dir():
        raise BadArgument(f"{to} is no folder; make it first.")
    targets = {form.path: to / form.path.name for form in one.forms}
    there = [str(target) for target in targets.values() if target.exists()]
    if there:
        raise Refused(f"{', '.join(there)} is there already and was not changed; name another folder with --to.")
    for source, target in targets.items():
        target.write_bytes(source.read_bytes())
        _write(str(target))
    return 0


def _as_json(one: "Entry") -> dict[str, object]:
    """Return an entry as JSON."""
    forms = [
        {"title": form.title, "description": form.description, "file": str(form.path)}
        | form.declared.model_dump(mode="json", exclude={"name", "level"})
        for form in one.forms
    ]
    return {"name": one.name, "level": one.level, "forms": forms}


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
