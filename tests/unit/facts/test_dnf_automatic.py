# SPDX-License-Identifier: Apache-2.0
"""Whether dnf installs updates by itself, of dnf 4 and dnf 5: timer, service, settings, and each of them broken."""

from pathlib import Path

import pytest

from chaosgpu.agent.facts.dnf import dnf
from chaosgpu.agent.facts.tree import Tree
from chaosgpu.agent.readings.catalogue import Answer
from support.host_tree import link, write

_CONF = "/etc/dnf/automatic.conf"
_SHIPPED, _ETC = "/usr/lib/systemd/system", "/etc/systemd/system"
_TIMER = "[Timer]\nOnCalendar=*-*-* 6:00\n"
# Each as its package ships it: the service's command, by the timer's name.
_DNF4 = {
    "dnf-automatic": "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer",
    "dnf-automatic-notifyonly": (
        "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer --no-installupdates --no-downloadupdates"
    ),
    "dnf-automatic-download": (
        "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer --downloadupdates --no-installupdates"
    ),
    "dnf-automatic-install": "/usr/bin/dnf-automatic /etc/dnf/automatic.conf --timer --installupdates",
}
_DNF5 = {"dnf5-automatic": "/usr/bin/dnf5 automatic --timer"}
_YES, _NO = "[commands]\napply_updates = yes\n", "[commands]\napply_updates = no\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a host with the packages of both, of which nothing is enabled."""
    for name, command in {**_DNF4, **_DNF5}.items():
        write(tmp_path, {f"{_SHIPPED}/{name}.timer": _TIMER})
        write(tmp_path, {f"{_SHIPPED}/{name}.service": f"[Service]\nType=oneshot\nExecStart={command}\n"})
    write(tmp_path, {_CONF: _NO})
    return tmp_path


def _enable(root: Path, name: str, by: str = "timers.target") -> None:
    link(root, f"{_ETC}/{by}.wants/{name}.timer", f"{_SHIPPED}/{name}.timer")


def _read(root: Path) -> Answer:
    return dnf(Tree(str(root)), None)


@pytest.mark.parametrize("said", [_YES, _NO])
@pytest.mark.parametrize("by", ["timers.target", "multi-user.target", "basic.target"])
@pytest.mark.parametrize("name", ["dnf-automatic", "dnf5-automatic"])
def test_a_timer_does_as_the_settings_say_whoever_wants_it(root: Path, name: str, by: str, said: str) -> None:
    _enable(root, name, by)
    write(root, {_CONF: said})
    assert _read(root).values["unattended_upgrades"] is (said == _YES)


@pytest.mark.parametrize(
    ("does", "due"),
    [("install", True), ("download", False), ("notifyonly", False)],
)
@pytest.mark.parametrize("said", [_YES, _NO])
def test_a_timer_that_is_told_what_to_do_does_not_ask_the_settings(root: Path, does: str, due: bool, said: str) -> None:
    _enable(root, f"dnf-automatic-{does}")
    write(root, {_CONF: said})
    assert _read(root).values["unattended_upgrades"] is due


def test_settings_that_say_yes_move_nothing_while_no_timer_is_enabled(root: Path) -> None:
    write(root, {_CONF: _YES})
    assert _read(root).values == {"pins": [], "unattended_upgrades": False, "blacklist": []}


def test_a_masked_timer_and_one_whose_package_is_gone_move_nothing(root: Path) -> None:
    _enable(root, "dnf-automatic-install")
    link(root, f"{_ETC}/dnf-automatic-install.timer", "/dev/null")
    _enable(root, "dnf-automatic-gone")
    _enable(root, "dnf5-automatic")
    write(root, {_CONF: _YES, f"{_ETC}/dnf5-automatic.timer": ""})
    assert _read(root).values["unattended_upgrades"] is False


def test_a_timer_that_is_shipped_as_wanted_is_enabled_until_that_is_taken_back(root: Path) -> None:
    place = "timers.target.wants/dnf-automatic-install.timer"
    link(root, f"{_SHIPPED}/{place}", "../dnf-automatic-install.timer")
    assert _read(root).values["unattended_upgrades"] is True
    link(root, f"{_ETC}/{place}", "/dev/null")
    assert _read(root).values["unattended_upgrades"] is False


def test_an_alias_is_the_timer_that_it_leads_to(root: Path) -> None:
    (root / f"{_SHIPPED}/dnf-automatic.timer".lstrip("/")).unlink()
    link(root, f"{_SHIPPED}/dnf-automatic.timer", "dnf5-automatic.timer")
    write(
        root, {f"{_SHIPPED}/dnf5-automatic.service": "[Service]\nExecStart=/usr/bin/dnf5 automatic --installupdates\n"}
    )
    _enable(root, "dnf-automatic")
    assert _read(root).values["unattended_upgrades"] is True


@pytest.mark.parametrize(
    ("files", "due"),
    [
        ({"/usr/share/dnf5/dnf5-plugins/automatic.conf": _YES}, False),
        ({"/usr/share/dnf5/dnf5-plugins/automatic.conf": _YES, _CONF: "[emitters]\n"}, True),
        ({"/etc/dnf/dnf5-plugins/automatic.conf": _YES, _CONF: "[base]\n"}, True),
    ],
)
def test_with_dnf_5_the_hosts_own_settings_come_after_those_that_are_shipped(
    root: Path, files: dict[str, str], due: bool
) -> None:
    _enable(root, "dnf5-automatic")
    write(root, files)
    assert _read(root).values["unattended_upgrades"] is due


def test_a_drop_in_has_the_last_word_on_the_command(root: Path) -> None:
    _enable(root, "dnf-automatic")
    own = f"{_ETC}/dnf-automatic.service.d/site.conf"
    write(root, {own: "[Service]\nExecStart=\nExecStart=-/usr/bin/dnf-automatic \\\n  /srv/site.conf --timer\n"})
    write(root, {"/srv/site.conf": _YES})
    assert _read(root).values["unattended_upgrades"] is True
    write(root, {own: "[Service]\nExecStart=/usr/bin/dnf-automatic --installupdates\n"})
    assert _read(root).values["unattended_upgrades"] is True  # both are run
    timer = f"{_ETC}/dnf-automatic.timer.d/site.conf"
    write(root, {own: "", timer: "[Timer]\nUnit=dnf-automatic-download.service\n"})
    assert _read(root).values["unattended_upgrades"] is False


def test_what_such_updates_leave_out_is_told_and_of_several_what_all_leave_out(root: Path) -> None:
    _enable(root, "dnf-automatic-install")
    write(root, {_CONF: f"{_NO}[base]\nexcludepkgs = nvidia* cuda*\n"})
    assert _read(root).values["blacklist"] == ["nvidia*", "cuda*"]
    _enable(root, "dnf5-automatic")
    assert _read(root).values["blacklist"] == ["nvidia*", "cuda*"]  # that one installs nothing
    command = "/usr/bin/dnf-automatic /srv/site.conf --installupdates"
    write(root, {f"{_SHIPPED}/dnf5-automatic.service": f"[Service]\nExecStart={command}\n"})
    write(root, {"/srv/site.conf": "[base]\nexclude=cuda*\n"})
    assert _read(root).values["blacklist"] == ["cuda*"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({f"{_CONF}/x": ""}, "/etc/dnf/automatic.conf cannot be read (Is a directory)"),
        ({}, "/etc/dnf/automatic.conf is not there"),
        ({_CONF: "apply_updates = yes\n"}, "line 1 of /etc/dnf/automatic.conf is no setting of a section"),
        ({_CONF: "[commands\n"}, "line 1 of /etc/dnf/automatic.conf names no section"),
        (
            {_CONF: "[commands]\napply_updates = ja\n"},
            "apply_updates in /etc/dnf/automatic.conf is 'ja', which is neither",
        ),
        (
            {_CONF: _NO, f"{_ETC}/dnf-automatic.service": "[Service]\nExecStart=/usr/local/bin/update-all\n"},
            "what dnf-automatic.service does is not known: /usr/local/bin/update-all",
        ),
        (
            {_CONF: _NO, f"{_ETC}/dnf-automatic.service": "[Service]\nExecStart=/usr/bin/dnf -y upgrade\n"},
            "what dnf-automatic.service does is not known: /usr/bin/dnf -y upgrade",
        ),
        ({_CONF: _NO, f"{_ETC}/dnf-automatic.service": ""}, "is not known: it starts nothing"),
        ({_CONF: _NO, f"{_ETC}/x.wants": "no folder"}, "/etc/systemd/system/x.wants is not there"),
    ],
)
def test_what_cannot_be_read_is_unknown_and_never_off(root: Path, files: dict[str, str], why: str) -> None:
    _enable(root, "dnf-automatic")
    (root / _CONF.lstrip("/")).unlink()
    write(root, files)
    found = _read(root)
    assert why in str(found.unknown["unattended_upgrades"])
    assert "unattended_upgrades" not in found.values
    assert set(found.unknown) == {"unattended_upgrades", "blacklist"}
