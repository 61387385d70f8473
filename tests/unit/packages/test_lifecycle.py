# SPDX-License-Identifier: Apache-2.0
"""What a playbook asks of a host's packages, with real apt and dpkg in a folder: again, only to look, refused."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaosgpu.agent.errors import BadRequest, Claimed, Forbidden, Halted, Refused, StoreFailed
from chaosgpu.agent.packages import change, drills, guard
from chaosgpu.agent.packages.judge import judge
from chaosgpu.agent.packages.plan import plan, with_same
from chaosgpu.agent.packages.restore import restore
from chaosgpu.agent.packages.room import VERBS
from chaosgpu.agent.packages.snapshot import take
from chaosgpu.agent.packages.tools import Tools
from chaosgpu.agent.values import JsonObject
from support.debs import FIRST, LATER, OLD
from unit.packages.conftest import HOLDS, Root

_POLICY = {"version": 1, "permit": ["package.*"], "max_duration_s": 600}
_PASSING = ("var/log", "var/cache", "var/lib/apt/lists", "tmp/")
WANTED = {"nvidia-open": LATER, "nvidia-fabricmanager": LATER}
THERE = {"nvidia-open": OLD, "nvidia-fabricmanager": OLD}
LIBRARY = "/usr/lib/nvidia/libcuda.so.570.172.08"


@pytest.fixture
def host(root: Root, monkeypatch: pytest.MonkeyPatch) -> Root:
    """Give a root whose policy permits packages."""
    monkeypatch.delenv("CHAOSGPU_AGENT_HOME", raising=False)
    _permit(root, _POLICY)
    return root


def _permit(root: Root, policy: dict[str, object]) -> None:
    path = root.tools.path("/etc/chaosgpu/policy.json")
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_text(json.dumps(policy))
    path.chmod(0o644)


def _ask(root: Root, verb: str, **request: object) -> JsonObject:
    found: JsonObject = VERBS[verb](json.loads(json.dumps(request)), root.tools)
    return found


def _tree(root: Root) -> dict[str, str]:
    base = Path(root.tools.root)
    names = ((path, str(path.relative_to(base))) for path in sorted(base.rglob("*")))
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path, name in names
        if path.is_file() and not name.startswith(_PASSING)
    }


def test_a_snapshot_is_taken_once_a_drill_and_looking_first_predicts_it_and_touches_nothing(host: Root) -> None:
    before = _tree(host)
    told = _ask(host, "snapshot", drill="d1", packages=WANTED, check=True)
    assert _tree(host) == before
    taken = _ask(host, "snapshot", drill="d1", packages=WANTED, gpus=["GPU-1"])
    assert (told["changed"], told["after"]) == (taken["changed"], taken["after"]) == (True, taken["after"])
    assert f"nvidia-open {OLD} -> {LATER}" in str(taken["after"])
    again = _ask(host, "snapshot", drill="d1", packages=WANTED)
    assert again["changed"] is False
    assert again["fingerprint"] == taken["fingerprint"]
    with pytest.raises(Refused, match="Drill d1 has a snapshot for other packages"):
        _ask(host, "snapshot", drill="d1", packages=THERE)
    manifest = _ask(host, "manifest", drill="d1")
    assert manifest["drill"] == {"drill": "d1", "packages": WANTED, "may_remove": [], "gpus": ["GPU-1"]}
    assert set(_tree(host)) - set(before) == {
        name for name in _tree(host) if name.startswith("var/lib/chaosgpu/lifecycle/d1/")
    }


@pytest.mark.parametrize("drill", ["..", ".", ".hidden", "a/b", "", "x" * 61, "+provision", "a b"])
def test_a_drill_is_a_name_and_never_leads_elsewhere(host: Root, drill: str) -> None:
    with pytest.raises(BadRequest):
        _ask(host, "snapshot", drill=drill, packages=WANTED)


def test_no_verb_takes_a_folder(host: Root, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with pytest.raises(BadRequest, match="has no parameter folder"):
        _ask(host, "restore", folder=str(tmp_path / "theirs"))
    assert (tmp_path / "theirs").exists()


def test_what_the_policy_does_not_permit_is_refused(host: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    before = host.versions()
    for verb, asked in (("snapshot", {"drill": "d1"}), ("install", {})):
        _permit(host, {**_POLICY, "permit": ["gpu.*"]})
        with pytest.raises(Forbidden, match=r"does not permit package\.install"):
            _ask(host, verb, packages=WANTED, **asked)
        host.tools.path("/etc/chaosgpu/policy.json").unlink()
        with pytest.raises(Forbidden, match="no policy"):
            _ask(host, verb, packages=WANTED, **asked)
    _permit(host, _POLICY)
    latch = host.tools.path("/run/chaosgpu/HALT")
    latch.parent.mkdir(parents=True)
    latch.touch()
    with pytest.raises(Halted, match="This host was halted"):
        _ask(host, "install", packages=WANTED)
    latch.unlink()
    monkeypatch.setenv("CHAOSGPU_AGENT_HOME", "/x")
    with pytest.raises(Forbidden, match="no package of this host is touched"):
        _ask(host, "install", packages=WANTED)
    assert host.versions() == before
    assert not host.tools.path(f"{drills.HOME}/lifecycle").exists()


def test_a_host_that_is_not_fit_for_a_snapshot_says_why(host: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match=r"apt finds no way to nvidia-open=590\.1-1"):
        _ask(host, "snapshot", drill="d1", packages={"nvidia-open": "590.1-1"})
    monkeypatch.setattr("chaosgpu.agent.packages.stage.shutil.disk_usage", lambda _: SimpleNamespace(free=60 << 20))
    for check in (True, False):
        with pytest.raises(Refused, match="has 60 MiB left, and keeping the files of 13 packages takes 64 MiB"):
            _ask(host, "snapshot", drill="d1", packages=WANTED, check=check)
    monkeypatch.undo()
    status = host.tools.admin / "status"
    status.write_text(status.read_text().replace("install ok installed", "install ok unpacked", 1))
    with pytest.raises(Refused, match="dpkg has left work half-done on this host"):
        _ask(host, "snapshot", drill="d1", packages=WANTED)
    assert not drills.folder_of(host.tools, "d1").exists()


def test_packages_that_a_lease_holds_are_nobodys_baseline(host: Root) -> None:
    claims = host.tools.path("/var/tmp")  # noqa: S108 (inside the test's own root)
    claims.mkdir(parents=True)
    from chaosgpu.agent.claims import Claims  # noqa: PLC0415 (only here)
    from chaosgpu.agent.clock import SystemClock  # noqa: PLC0415 (as above)

    Path(Claims(str(claims), SystemClock()).path("dpkg:database")).write_text("{}")
    with pytest.raises(Claimed, match="dpkg:database is held"):
        _ask(host, "snapshot", drill="d1", packages=WANTED)


def test_what_only_stays_as_it_is_is_watched_and_told_when_it_has_moved(host: Root) -> None:
    _ask(host, "snapshot", drill="d1", packages=THERE)
    assert _ask(host, "compare", drill="d1")["as_before"] is True
    assert host.dpkg("-i", str(host.repository / f"nvidia-fabricmanager_{FIRST}_amd64.deb")).returncode == 0
    found = _ask(host, "compare", drill="d1")
    assert found["as_before"] is False
    assert f"nvidia-fabricmanager is {FIRST}, and was {OLD} before" in str(found["why"])


def test_a_host_goes_back_to_its_snapshot_without_the_repository_and_only_looking_predicts_it(host: Root) -> None:
    _ask(host, "snapshot", drill="d1", packages=WANTED)
    debs = [str(path) for path in host.repository.glob(f"*_{LATER}_*.deb")]
    assert host.dpkg("-i", *debs).returncode == 0
    for gone in ("/var/lib/apt/lists", "/etc/apt/sources.list.d", "/var/cache/apt"):
        shutil.rmtree(host.tools.path(gone))
    before = _tree(host)
    told = _ask(host, "restore", drill="d1", check=True)
    assert _tree(host) == before
    done = _ask(host, "restore", drill="d1")
    assert (told["changed"], done["changed"], done["as_before"]) == (True, True, True), done
    assert (host.versions()["nvidia-open"], host.facts.held()) == (OLD, frozenset(HOLDS))
    assert not list(drills.folder_of(host.tools, "d1").rglob("*.deb"))
    again = _ask(host, "restore", drill="d1")
    assert (again["changed"], again["as_before"]) == (False, True)


def test_package_files_go_when_the_drill_is_over_and_only_where_the_host_is_as_it_was(host: Root) -> None:
    _ask(host, "snapshot", drill="d1", packages=WANTED)
    folder = drills.folder_of(host.tools, "d1")
    library = host.tools.path(LIBRARY)
    text = library.read_text()
    library.write_text("another build\n")
    assert _ask(host, "compare", drill="d1", done=True)["as_before"] is False
    assert list(folder.rglob("*.deb"))
    library.write_text(text)
    assert _ask(host, "compare", drill="d1")["as_before"] is True
    assert list(folder.rglob("*.deb"))
    assert _ask(host, "compare", drill="d1", done=True)["as_before"] is True
    assert not list(folder.rglob("*.deb"))
    assert _ask(host, "compare", drill="d1")["as_before"] is True


def test_without_a_snapshot_nobody_knows_how_it_was(host: Root) -> None:
    for verb in ("compare", "restore", "manifest"):
        with pytest.raises(StoreFailed, match="There is no snapshot of drill d9 on this host"):
            _ask(host, verb, drill="d9")


def test_installed_for_good_once_and_looking_first_predicts_it(host: Root) -> None:
    before = _tree(host)
    told = _ask(host, "install", packages=WANTED, check=True)
    assert _tree(host) == before
    done = _ask(host, "install", packages=WANTED)
    assert {key: told[key] for key in ("changed", "before", "after")} == {
        key: done[key] for key in ("changed", "before", "after")
    }
    assert f"nvidia-open {LATER}" in str(done["after"])
    assert (host.versions()["nvidia-open"], host.facts.held()) == (LATER, frozenset(HOLDS))
    assert _ask(host, "install", packages=WANTED)["changed"] is False


class _Failing(Tools):
    """Has an apt that ends with an error after all has been done, as one of a site's own hooks makes it."""

    def apt(self, program: str, *words: str) -> tuple[str, ...]:
        return super().apt(program, "-o", "DPkg::Post-Invoke::=false", *words)


def test_an_install_that_fails_is_put_back_and_says_so(host: Root) -> None:
    before = host.versions()
    host.tools = _Failing(host.tools.root)
    with pytest.raises(Refused, match=r"apt did not get through with the change.* Everything was put back"):
        _ask(host, "install", packages=WANTED)
    assert host.versions() == before


def test_an_install_that_was_broken_off_is_put_back_first(host: Root) -> None:
    found = plan(host.tools, host.facts, WANTED)
    folder = drills.folder_of(host.tools, drills.PROVISION)
    taken = take(host.tools, folder, found, host.facts)
    drills.note(folder, {"packages": {**WANTED}})
    new = [taken.file("after", one) for one in taken.after.values()]
    assert host.dpkg("--force-depends", "--unpack", *new).returncode == 0
    assert host.facts.unfinished
    assert _ask(host, "install", packages=THERE, check=True)["changed"] is True
    assert _ask(host, "install", packages=THERE)["changed"] is True
    assert (host.versions()["nvidia-open"], host.facts.unfinished) == (OLD, ())
    assert _ask(host, "install", packages=THERE)["changed"] is False


def test_a_guard_that_was_broken_off_before_the_change_goes_on_the_way_back(host: Root, tmp_path: Path) -> None:
    wanted = {**THERE}
    text = guard.preferences(wanted, {})
    found = with_same(plan(host.tools, host.facts, wanted), host.facts, wanted)
    sums = {guard.PLACE: f"md5 {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"}
    taken = take(host.tools, tmp_path / "kept", found, host.facts, sums)
    guard.pin(host.tools, text)
    assert not judge(host.tools, taken).as_before
    restore(host.tools, taken, 60)
    assert judge(host.tools, taken).as_before
    assert not host.tools.path(guard.PLACE).exists()
    guard.pin(host.tools, text)
    change.put_in(host.tools, taken, 60)
    guard.hold(host.tools, ["nvidia-utils", *wanted])
    restore(host.tools, taken, 60)
    assert not host.tools.path(guard.PLACE).exists()
    assert host.facts.packages["nvidia-fabricmanager"].want == "hold"  # it was before


def test_a_guard_that_was_only_half_written_goes_on_the_way_back(host: Root, tmp_path: Path) -> None:
    taken = take(host.tools, tmp_path / "kept", plan(host.tools, host.facts, WANTED), host.facts)
    half = host.tools.path(guard.PLACE).with_name(".00-chaosgpu.new")
    half.parent.mkdir(parents=True, exist_ok=True)
    half.write_text("# chaosgpu: pa")
    restore(host.tools, taken, 60)
    assert not half.exists()


def test_a_plan_with_guards_has_to_be_done_until_it_is_guarded(host: Root) -> None:
    told = _ask(host, "plan", packages=THERE, guard=True)
    assert (told["todo"], told["upgrade"]) == (True, [])
    assert f"nvidia-fabricmanager {OLD} hold" in str(told["after"])
    guard.guard(host.tools, THERE)
    told = _ask(host, "plan", packages=THERE, guard=True)
    assert (told["todo"], told["gaps"], told["before"]) == (False, [], told["after"])


def _load(root: Root, version: str) -> None:
    shown = root.tools.path("/proc/driver/nvidia/version")
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.write_text(f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\n")


def test_verify_names_what_is_wrong_and_what_cannot_be_known(host: Root) -> None:
    _load(host, "570.172.08")
    _ask(host, "snapshot", drill="d1", packages=THERE, gpus=["GPU-1", "GPU-2"])
    found = _ask(host, "verify", packages=THERE)
    assert "nvidia-open: apt would choose" in str(found["wrong"])
    guard.guard(host.tools, THERE)
    found = _ask(host, "verify", packages=THERE, drill="d1", gpus=["GPU-1", "GPU-2"])
    assert (found["ok"], found["wrong"]) == (True, [])
    assert "the driver's module on the disk" in str(found["unknown"])
    found = _ask(host, "verify", packages=THERE, drill="d1", gpus=["GPU-2", "GPU-3"])
    assert "of 2 GPUs 1 do not answer any more: GPU-1" in str(found["wrong"])
    assert "GPU-3 is new" in str(found["wrong"])
    _load(host, "580.95.05")
    found = _ask(host, "verify", packages=THERE)
    assert "the kernel module that runs is 580.95.05 and libnvidia-compute is 570.172.08" in str(found["wrong"])
    found = _ask(host, "verify", drill="d1", against="snapshot")
    assert "reboot needed" in str(found["wrong"])
    with pytest.raises(BadRequest, match="against is lock or snapshot"):
        _ask(host, "verify", packages=THERE, against="hope")
