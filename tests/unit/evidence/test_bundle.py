# SPDX-License-Identifier: Apache-2.0
"""The bundle: the same bytes each time, one verdict everywhere, and said loudly what it lacks."""

import json
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chaosgpu.cli.main import main
from chaosgpu.errors import BadArgument, EvidenceBroken
from chaosgpu.evidence import keygen
from chaosgpu.evidence.bundle import build, load_bundle, signed, write_bundle
from chaosgpu.evidence.contents import read_contents
from chaosgpu.evidence.derive import is_derived
from chaosgpu.evidence.keygen import sign, ssh_checker
from chaosgpu.evidence.missing import missing
from chaosgpu.evidence.names import is_plain, plain_name
from chaosgpu.evidence.sums import NAMESPACE, SIGNATURE, SUMS, write_sums
from chaosgpu.evidence.verify import Trust, verify
from support.evidence_world import SIGNER, Pen, World, lay

VERDICTS = ("passed", "deviated", "unsafe", "inconclusive")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("evidence") / "world")


@pytest.fixture(scope="module")
def bundles(world: World) -> Mapping[str, Mapping[str, bytes]]:
    runs = {verdict: world.drill(verdict, verdict) for verdict in VERDICTS}
    return {verdict: world.export(run) for verdict, run in runs.items()}


def _trust(world: World) -> Trust:
    return Trust(ssh_checker(world.allowed), SIGNER)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_there_is_one_verdict_in_every_part(
    world: World, bundles: Mapping[str, Mapping[str, bytes]], verdict: str
) -> None:
    files = bundles[verdict]
    found = verify(files, _trust(world))
    assert (found.problems, found.missing, found.verdict) == ((), (), verdict)
    assert json.loads(files["summary.json"])["verdict"] == verdict
    assert json.loads(files["run/journal.json"])["chaosgpu"]["verdict"] == verdict
    assert json.loads(files["run/ledger.jsonl"].splitlines()[-1])["verdict"] == verdict
    assert f'"verdict": "{verdict}"'.encode() in files["log.jsonl"]
    assert f'class="verdict">{verdict}<'.encode() in files["report.html"]
    suite = ET.fromstring(files["junit.xml"])  # noqa: S314 (our own, of a line before)
    assert suite.find(f".//testcase[@name='verdict: {verdict}']") is not None
    green = suite.get("failures") == suite.get("errors") == "0"
    assert green == (verdict == "passed")
    result = json.loads(files["statement.json"])["predicate"]["result"]
    assert result == {"passed": "PASSED", "inconclusive": "WARNED"}.get(verdict, "FAILED")


def test_report_and_junit_say_which_probe_broke_the_steady_state(bundles: Mapping[str, Mapping[str, bytes]]) -> None:
    for verdict, broken in (("deviated", True), ("passed", False)):
        suite = ET.fromstring(bundles[verdict]["junit.xml"])  # noqa: S314 (as above)
        said = suite.find(".//testcase[@name='the steady state holds after the method']/failure")
        assert (None if said is None else said.get("message")) == (
            "'the canary is right' gave false" if broken else None
        )
        row = '<span class="bad">✗</span> false'
        assert (row.encode() in bundles[verdict]["report.html"]) == broken


def test_a_second_export_has_the_same_bytes(world: World) -> None:
    run = world.drill("twice")
    assert world.export(run) == world.export(run)


def test_each_derived_file_that_says_something_else_is_found(
    world: World, bundles: Mapping[str, Mapping[str, bytes]]
) -> None:
    files = bundles["deviated"]
    derived = [name for name in files if is_derived(name)]
    assert len(derived) > 8
    for name in derived:
        changed = {one: content for one, content in files.items() if one not in (SUMS, SIGNATURE)}
        changed[name] += b" "
        sums = write_sums(changed)
        found = verify(signed({**changed, SUMS: sums}, sign(sums, world.keys[SIGNER], NAMESPACE)), _trust(world))
        assert any(name in sentence or "checkpoint" in sentence for sentence in found.problems), name


def test_an_unsigned_bundle_says_so_and_is_not_verified(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world.drill("unsigned")
    out = tmp_path / "bundle"
    site = ["--site", str(world.site)]
    assert main(["evidence", "export", str(world.runs[run]), "--out", str(out), *site]) == 0
    assert "UNSIGNED" in capsys.readouterr().out
    assert b"UNSIGNED" in (out / "report.html").read_bytes()
    assert main(["evidence", "verify", str(out), "--allowed-signers", str(world.allowed)]) == 5
    assert "UNSIGNED" in capsys.readouterr().out


def test_export_and_verify_from_the_command_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world.drill("by-hand", "deviated")
    out = tmp_path / "bundle"
    signing = ["--key", str(world.keys[SIGNER]), "--identity", SIGNER, "--site", str(world.site)]
    export = ["evidence", "export", str(world.runs[run]), "--out", str(out), *signing]
    assert main(export) == 0
    assert "verdict   deviated" in capsys.readouterr().out
    assert main(export) == 2  # there already
    assert main(["evidence", "verify", str(out), "--allowed-signers", str(world.allowed), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bundles"][str(out)]["verdict"] == "deviated"
    assert said["bundles"][str(out)]["fingerprint"].startswith("SHA256:")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["export", "{run}", "--out", "{new}", "--key", "{key}"], "belong together"),
        (["export", "{folder}", "--out", "{new}"], "is no run directory"),
        (["export", "{run}", "--out", "{new}", "--key", "{key}", "--identity", "x' ; y"], "must be one word"),
        (["export", "{run}", "--out", "{new}", "--key", "{folder}/none", "--identity", "x"], "did not sign"),
        (["export", "{run}", "--out", "{new}", "--secret-env", "NO_SUCH_VARIABLE"], "there is no such variable"),
        (["export", "{run}", "--out", "{new}", "--secrets", "{folder}/none"], "could not be read"),
        (["verify", "{folder}/none", "--allowed-signers", "{allowed}"], "is no folder"),
        (["verify", "{folder}", "--allowed-signers", "{folder}/none"], "no file of allowed signers"),
        (
            ["verify", "{folder}", "--allowed-signers", "{allowed}", "--checkpoint", "{folder}/none"],
            "could not be read",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    world: World, tmp_path: Path, arguments: list[str], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run = next(iter(world.runs.values())) if world.runs else world.runs[world.drill("first")]
    words = {
        "run": run, "new": tmp_path / "new", "key": world.keys[SIGNER], "folder": tmp_path, "allowed": world.allowed,
    }  # fmt: skip
    assert main(["evidence", *(one.format(**words) for one in arguments)]) == 2
    assert why in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_does_not_answer_is_ended(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "ssh-keygen"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(keygen, "_SIGN_S", 0.2)
    with pytest.raises(EvidenceBroken, match="did not answer within"):
        sign(b"", world.keys[SIGNER], NAMESPACE)


class _Links(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag in {"script", "link", "img", "iframe", "object", "embed"} or names & {"src", "href", "onload", "style"}:
            self.found.append(tag)


def test_a_key_that_expired_since_verifies_at_its_time(world: World, tmp_path: Path) -> None:
    folder = lay(world.export(world.drill("expired")), tmp_path / "bundle")
    allowed = tmp_path / "allowed"
    ended = world.allowed.read_text().replace(f"{SIGNER} ", f'{SIGNER} valid-before="20261101",', 1)
    allowed.write_text(ended)
    script = Path(keygen.__file__).parent / "data" / "verify.sh"
    for time, code in (("20261201", 5), ("20261001", 0)):
        options = ["--allowed-signers", str(allowed), "--verify-time", time]
        assert main(["evidence", "verify", *options, str(folder)]) == code
        command = ["sh", str(script), "-f", str(allowed), "-i", SIGNER, "-t", time, str(folder)]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == code


def test_the_report_fetches_and_runs_nothing(bundles: Mapping[str, Mapping[str, bytes]]) -> None:
    page = bundles["deviated"]["report.html"].decode()
    links = _Links()
    links.feed(page)
    assert links.found == []
    assert "url(" not in page
    assert "@import" not in page
    assert page.count("<svg") >= 5
    assert page.count('class="window"') >= page.count("<svg")


def test_what_a_run_says_is_no_markup_in_the_report(world: World) -> None:
    files = world.export(world.run("<script>alert(1)</script>&\x00"))
    assert b"<script" not in files["report.html"]
    ET.fromstring(files["junit.xml"])  # noqa: S314


def test_names_that_are_not_plain_are_written_so_that_they_are() -> None:
    for name in ("a/b.json", "gpu1", "[::1]", "-x", "..", ".hidden", "ü", "a b", "a\nb", "a\\b", "a'b"):
        assert is_plain(plain_name(name)), name
    assert not any(is_plain(name) for name in ("../a", "/a", "a//b", "", ".a", "-a", "a/.b", "a\n", "a b", "a\\b"))
    assert len({plain_name(name) for name in ("a=b", "a b", "a=20b", "a-b")}) == 4


def test_links_and_other_files_in_a_bundle_are_not_read(
    bundles: Mapping[str, Mapping[str, bytes]], tmp_path: Path
) -> None:
    folder = lay({**bundles["passed"], "etc": Path("/etc/hostname")}, tmp_path / "bundle")
    files, strange = load_bundle(folder)
    assert "etc" not in files
    assert "etc" in strange[0]


def test_a_bundle_that_cannot_be_written_leaves_nothing(
    bundles: Mapping[str, Mapping[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceBroken, match="could not be written"):
        write_bundle(bundles["passed"], tmp_path / "file" / "bundle")
    with pytest.raises(BadArgument, match="there already"):
        write_bundle(bundles["passed"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_outside_any_drill_is_verified_when_that_is_allowed(world: World) -> None:
    files = world.export(world.run("alone"))
    assert "No attempt in the site's log" in verify(files, _trust(world)).missing[0]
    allowed = verify(files, Trust(ssh_checker(world.allowed), SIGNER, unlogged=True))
    assert (allowed.problems, allowed.missing) == ((), ())


def test_a_host_that_was_looked_at_before_its_first_lease_is_missed_afterwards(world: World) -> None:
    # Found by real kills: the ledger names a host with its first lease, the guard looks at it earlier.
    pen = Pen(world.runs[world.new_run("early")], world.clock)
    pen.line("run.planned", title="early", experiment_sha256="0" * 64, dry=None, hits=[])
    pen.file("hosts/localhost/before.json", {"facts": {}})
    pen.line("run.started")
    files = build(pen.folder, b"", (), None, None)
    sentence = "localhost has before.json and no after.json: how the host was left is not recorded."
    assert sentence in missing(read_contents(files))
    assert json.loads(files["hosts/localhost/difference.json"])["before_after"] is None


def test_a_link_in_the_run_directory_is_not_followed(world: World, tmp_path: Path) -> None:
    run = world.run("linked")
    (tmp_path / "private").write_text("private")
    (world.runs[run] / "series" / "link.jsonl").symlink_to(tmp_path / "private")
    assert not any(b"private" in content for content in build(world.runs[run], b"", (), None, None).values())
