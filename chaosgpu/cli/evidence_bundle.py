# SPDX-License-Identifier: Apache-2.0
"""`chaosgpu evidence export` and `verify`: hand a run to an auditor, and check what was handed over."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chaosgpu.errors import BadArgument

if TYPE_CHECKING:
    from chaosgpu.evidence.verify import Trust, Verified

__all__ = ["add_export", "add_verify", "export", "verify_bundles"]

HOLDS, INCOMPLETE, BROKEN = 0, 4, 5


def add_export(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `export`."""
    parser.add_argument("run_directory", type=Path, metavar="RUN_DIR", help="the run's folder: `chaosgpu runs show`")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for the bundle")
    parser.add_argument("--key", type=Path, help="the key that signs, or the public file of one in your SSH agent")
    parser.add_argument("--identity", metavar="ID", help="who signs, as the auditor's allowed signers name you")
    parser.add_argument("--site", type=Path, metavar="DIR", help="the evidence log's folder (default: as for `log`)")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="the drill's plan (default: what the site keeps)")
    parser.add_argument(
        "--secrets", type=Path, metavar="FILE", help="values that may not leave, one a line; - is standard input"
    )
    parser.add_argument(
        "--secret-env",
        action="append",
        default=[],
        metavar="NAME",
        help="a variable whose value may not leave",
    )


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `verify`."""
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="the folder of a bundle")
    parser.add_argument("--allowed-signers", type=Path, required=True, metavar="FILE", help="ssh-keygen(1)")
    parser.add_argument("--identity", metavar="ID", help="whose signature it must be (default: as the bundle says)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the checkpoint that you were given before")
    parser.add_argument("--complete", action="store_true", help="each run of the log must be among the bundles")
    parser.add_argument("--unlogged", action="store_true", help="a run of no drill, which is in no log, will do")
    parser.add_argument("--verify-time", metavar="TIME", help="for a key that has expired since, such as 20261201")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def export(args: argparse.Namespace) -> int:
    """Make a bundle, sign it, and say what it lacks."""
    from chaosgpu.evidence import bundle, keygen  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.evidence.contents import read_contents  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.entry import SIGNER  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.gather import declared_secrets  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.kept import approved_for  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.log import home, read_raw  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.log_rules import read_log  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.missing import missing  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.sums import NAMESPACE, SUMS  # noqa: PLC0415 (likewise)

    if (args.key is None) != (args.identity is None):
        raise BadArgument("--key and --identity belong together: a key signs, the identity says whose it is.")
    if args.identity is not None and not SIGNER.fullmatch(args.identity):
        raise BadArgument(
            f"--identity must be one word, as in the allowed signers, such as drills@lab: {args.identity!r}."
        )
    directory, site = args.run_directory.resolve(), args.site or home()
    lines, torn = read_raw(site)
    approved = approved_for(site, read_log(lines, torn), directory, args.plan)
    secrets = _secrets(args) | declared_secrets(directory, os.environ)
    # Nobody can be asked to sign half a line: a torn one is not in the log yet.
    log = b"".join(line + b"\n" for line in lines)
    files = bundle.build(directory, log, secrets, args.identity, approved)
    if args.key is not None:
        files = bundle.signed(files, keygen.sign(files[SUMS], args.key, NAMESPACE))
    bundle.write_bundle(files, args.out)
    contents = read_contents(files)
    for sentence in missing(contents):
        _write(f"MISSING   {sentence}")
    if args.key is None:
        _write("UNSIGNED  Anybody could have written this bundle. Export it again with --key and --identity.")
    _write(f"verdict   {contents.story.verdict or 'none recorded'}: {contents.story.reason or 'the ledger has no end'}")
    _write(f"redacted  {contents.ledger.withheld} lines of the ledger; known secrets: {len(secrets)}")
    _write(f"bundle    {args.out} ({len(files)} files); how to check it: {args.out / 'HOWTO-VERIFY.txt'}")
    return HOLDS


def _secrets(args: argparse.Namespace) -> set[str]:
    """Read the secrets that the operator names; they are written nowhere."""
    found: set[str] = set()
    for name in args.secret_env:
        if not os.environ.get(name):
            raise BadArgument(f"--secret-env names {name}, and there is no such variable: nothing was exported.")
        found.add(os.environ[name])
    if args.secrets is not None:
        try:
            text = sys.stdin.read() if str(args.secrets) == "-" else args.secrets.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadArgument(f"The secrets in {args.secrets} could not be read: {error}.") from error
        found |= {line for line in text.splitlines() if line}
    return found


def verify_bundles(args: argparse.Namespace) -> int:
    """Check bundles, one by one and together."""
    from chaosgpu.evidence.checkpoint import read_checkpoint  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.evidence.keygen import ssh_checker  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.together import together  # noqa: PLC0415 (likewise)
    from chaosgpu.evidence.verify import Trust  # noqa: PLC0415 (likewise)

    kept = None
    if args.checkpoint is not None:
        try:
            kept = read_checkpoint(args.checkpoint.read_bytes())
        except OSError as error:
            raise BadArgument(f"The checkpoint {args.checkpoint} could not be read: {error.strerror}.") from error
    # Of several bundles only the newest need reach the checkpoint: it is held against all of them together.
    trust = Trust(ssh_checker(args.allowed_signers, args.verify_time), args.identity, None, args.unlogged)
    found = {str(folder): _one(folder, trust) for folder in args.bundles}
    problems, lacking = together(found, kept, complete=args.complete)
    broken = bool(problems) or any(one.problems for one in found.values())
    incomplete = bool(lacking) or any(one.missing for one in found.values())
    code = BROKEN if broken else INCOMPLETE if incomplete else HOLDS
    if args.json:
        _write(json.dumps(_as_json(found, problems, lacking, code), indent=2, ensure_ascii=False))
        return code
    for name, one in found.items():
        _show(name, one)
    _sentences("PROBLEM", problems)
    _sentences("MISSING", lacking)
    _write({HOLDS: "VERIFIED", INCOMPLETE: "INCOMPLETE", BROKEN: "IT DOES NOT HOLD"}[code])
    return code


def _one(folder: Path, trust: "Trust") -> "Verified":
    """Check one bundle; what is no file is a problem before anything else."""
    from chaosgpu.evidence.bundle import load_bundle  # noqa: PLC0415 (other subcommands need none of it)
    from chaosgpu.evidence.verify import Verified, verify  # noqa: PLC0415 (likewise)

    files, strange = load_bundle(folder)
    return Verified(tuple(strange)) if strange else verify(files, trust)


def _show(name: str, one: "Verified") -> None:
    """Print what came of one bundle."""
    _write(f"bundle    {name}")
    if one.fingerprint:
        _write(f"signed    by {one.signed_by} with the key {one.fingerprint}")
    if one.run:
        _write(f"run       {one.run}, verdict {one.verdict or 'none recorded'}")
    _sentences("PROBLEM", one.problems)
    _sentences("MISSING", one.missing)
    _sentences("NOTE   ", one.notes)


def _sentences(word: str, sentences: "tuple[str, ...] | list[str]") -> None:
    for sentence in sentences:
        _write(f"{word}   {sentence}")


def _as_json(found: "dict[str, Verified]", problems: list[str], lacking: list[str], code: int) -> dict[str, object]:
    bundles = {
        name: {
            "run": one.run, "verdict": one.verdict, "signed_by": one.signed_by, "fingerprint": one.fingerprint,
            "problems": one.problems, "missing": one.missing, "notes": one.notes,
        }
        for name, one in found.items()
    }  # fmt: skip
    return {"bundles": bundles, "problems": problems, "missing": lacking, "exit_code": code}


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
