# SPDX-License-Identifier: Apache-2.0
"""Which units a fault may name, how systemd's words are read, and a drop-in that is never over or under another's."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock
from chaosgpu.agent.driver import ForkedDriver
from chaosgpu.agent.errors import BadRequest, Forbidden, Refused, Unanswered
from chaosgpu.agent.faults import unit_drop_in
from chaosgpu.agent.faults.contract import Context
from chaosgpu.agent.faults.on_unit import OnUnit, parse_unit, unit_of
from chaosgpu.agent.faults.unit_drop_in import DropIn, drop_in_for, refuse_pending_edits
from chaosgpu.agent.faults.unit_state import UnitState, host_is_starting, look_at, pending_edits
from chaosgpu.agent.systemd import Systemd

_SAYS = "Id={id}\nNames={id} alias.service\nLoadState={load}\nActiveState=active\nControlGroup=\n"


def _systemd(folder: Path, said: str) -> Systemd:
    """Write a systemctl that says this, and notes what it was asked."""
    (folder / "said").write_text(said)
    path = folder / "systemctl"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\nexec cat {folder}/said\n')
    path.chmod(0o755)
    return Systemd(str(path), "/bin/false", 252)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Make a context of a host of root's with a systemd that has one loaded unit."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = _systemd(tmp_path, _SAYS.format(id="x@1.service", load="loaded"))
    return Context(ForkedDriver({}), SystemClock(), lease_dir="/leases/l1", find_systemd=lambda: found)


@pytest.mark.parametrize(
    "name",
    ["triton", "a.socket", "a.scope", "a.slice", "a b.service", "*.service", "../x.service", "x.service\n", ".service"],
)
def test_only_the_whole_name_of_a_service_is_taken(name: str) -> None:
    with pytest.raises(BadRequest):
        parse_unit({"unit": name})


@pytest.mark.parametrize("name", ["triton.service", "vllm@gpu0.service", "a\\x2db.service", "a:b_c-d.service"])
def test_a_service_or_an_instance_of_a_template_is_taken(name: str) -> None:
    assert parse_unit({"unit": name}) == name


def test_a_template_without_its_instance_is_not_taken() -> None:
    with pytest.raises(BadRequest, match=r"name one instance of it, such as vllm@0\.service"):
        parse_unit({"unit": "vllm@.service"})


def test_an_alias_is_resolved_to_the_canonical_name(context: Context) -> None:
    assert unit_of(OnUnit("alias.service"), context).id == "x@1.service"


@pytest.mark.parametrize("protected", ["x@1.service", "x@1", "alias.service", "alias", "x@.service"])
def test_a_unit_that_the_policy_protects_is_known_by_all_its_names(protected: str, context: Context) -> None:
    with pytest.raises(Forbidden, match="policy protects"):
        unit_of(OnUnit("x@1.service"), replace(context, protected_units=(protected,)))


@pytest.mark.parametrize("ask", [lambda it: look_at(it, "x.service"), host_is_starting, pending_edits])
def test_an_empty_answer_of_systemd_is_none_and_another_try_may_end_differently(
    tmp_path: Path, ask: Callable[[Systemd], object]
) -> None:
    with pytest.raises(Unanswered, match="said nothing"):
        ask(_systemd(tmp_path, ""))


@pytest.mark.parametrize("load", ["masked", "not-found", "error", "bad-setting"])
def test_a_unit_that_is_not_loaded_is_refused(load: str, context: Context, tmp_path: Path) -> None:
    (tmp_path / "said").write_text(_SAYS.format(id="x.service", load=load))
    with pytest.raises(Refused, match=r"masked on this host|no working unit"):
        unit_of(OnUnit("x.service"), context)


@pytest.mark.parametrize(
    "name", ["ssh.service", "sshd.service", "dbus.service", "systemd-journald.service", "chaosgpu-sweep.service"]
)
def test_what_holds_the_host_together_and_what_is_ours_is_refused(name: str, context: Context, tmp_path: Path) -> None:
    (tmp_path / "said").write_text(_SAYS.format(id=name, load="loaded"))
    with pytest.raises(Refused, match="never touched"):
        unit_of(OnUnit("alias.service"), context)


def test_a_lab_a_user_and_a_host_without_systemd_are_refused(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    params = OnUnit("x.service")
    with pytest.raises(Forbidden, match="CHAOSGPU_AGENT_HOME"):
        unit_of(params, replace(context, limited_to_home="/lab"))
    with pytest.raises(Refused, match="not this host's PID 1"):
        unit_of(params, replace(context, find_systemd=lambda: None))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refused, match="Only root"):
        unit_of(params, context)


@pytest.mark.parametrize(
    ("active", "left", "ended", "asked"),
    [("inactive", 5, 9, True), ("inactive", 9, 5, False), ("failed", 5, 9, False), ("inactive", 0, 0, False)],
)
def test_a_stop_that_was_asked_for_is_told_from_an_end_by_itself(
    active: str, left: int, ended: int, *, asked: bool
) -> None:
    shown = {"ActiveState": active, "ActiveExitTimestampMonotonic": left, "ExecMainExitTimestampMonotonic": ended}
    assert UnitState({name: (str(value),) for name, value in shown.items()}).was_asked_to_stop is asked


def _drop_in(context: Context, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DropIn:
    monkeypatch.setattr(unit_drop_in, "RUNTIME", str(folder))
    return drop_in_for("x@1.service", "unit.test", ("[Service]", "A=b"), context)


def test_a_drop_in_carries_the_lease_is_put_once_and_goes_with_its_folder(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = context.find_systemd()
    assert systemd is not None
    ours = _drop_in(context, tmp_path, monkeypatch)
    ours.put(systemd)
    assert ours.path == f"{tmp_path}/x@1.service.d/zz-chaosgpu-l1.conf"
    written = Path(ours.path).read_text(encoding="utf-8")
    assert written.splitlines()[0].startswith("# chaosgpu lease l1: unit.test.")
    with pytest.raises(Refused, match="is there already"):
        ours.put(systemd)
    assert DropIn.from_json(ours.to_json()) == ours
    ours.take_away(systemd)
    ours.take_away(systemd)
    assert not Path(ours.path).parent.exists()
    assert (tmp_path / "asked").read_text().count("daemon-reload") == 1  # the script never says that it has read it


def test_a_drop_in_is_forgotten_by_systemd_even_if_the_file_went_before(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = context.find_systemd()
    assert systemd is not None
    ours = _drop_in(context, tmp_path, monkeypatch)
    (tmp_path / "said").write_text(f"Id=x@1.service\nDropInPaths=/a.conf {ours.path}\n")
    ours.take_away(systemd)
    assert "daemon-reload" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize("theirs", ["", "# theirs\n", "\xff"])
def test_what_is_not_ours_to_the_last_byte_stays(
    theirs: str, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = context.find_systemd()
    assert systemd is not None
    ours = _drop_in(context, tmp_path, monkeypatch)
    path = Path(ours.path)
    path.parent.mkdir()
    path.write_text(theirs, encoding="latin-1")
    Path(f"{path}.new").write_text("cut off")
    ours.take_away(systemd)
    assert path.read_text(encoding="latin-1") == theirs
    assert ours.changed_by_somebody()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_link_at_its_path_is_not_followed(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = context.find_systemd()
    assert systemd is not None
    ours = _drop_in(context, tmp_path, monkeypatch)
    Path(ours.path).parent.mkdir()
    Path(ours.path).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text(ours.text, encoding="utf-8")
    with pytest.raises(Refused, match="is there already"):
        ours.put(systemd)
    ours.take_away(systemd)
    assert Path(ours.path).is_symlink()


def test_edits_that_nobody_has_loaded_are_not_put_in_force_by_our_reload(context: Context, tmp_path: Path) -> None:
    systemd = context.find_systemd()
    assert systemd is not None
    (tmp_path / "said").write_text("Id=a.service\nNeedDaemonReload=no\n\nId=b.service\nNeedDaemonReload=no\n")
    refuse_pending_edits(systemd)
    (tmp_path / "said").write_text("Id=a.service\nNeedDaemonReload=no\n\nId=b.service\nNeedDaemonReload=yes\n")
    with pytest.raises(Refused, match=r"not loaded yet \(b\.service\)"):
        refuse_pending_edits(systemd)
