# SPDX-License-Identifier: Apache-2.0
"""Excludes of dnf are read as dnf reads them, of dnf 4 and of dnf 5, and what cannot be read is never none."""

from pathlib import Path

import pytest

from chaosgpu.agent.facts.dnf import dnf
from chaosgpu.agent.facts.dnf_files import excluded, sections
from chaosgpu.agent.facts.packages import Packages
from chaosgpu.agent.facts.tree import Tree, UnknownFact
from support.dnf_forms import FORMS
from support.host_tree import link, write

_CONF = "/etc/dnf/dnf.conf"
_CUDA = "/etc/yum.repos.d/cuda.repo"
_WITH = Packages({"nvidia-open": "3:580.95.05-1.el9", "libibverbs-mlnx": "1-1"}, (), {}, "rpm")


def _told(tree: Path, found: Packages | None = None) -> list[tuple[object, object]]:
    answer = dnf(Tree(str(tree)), found)
    pins = answer.values["pins"]
    assert isinstance(pins, list)
    return [(pin["package"], pin["pin"]) for pin in pins if isinstance(pin, dict)]


@pytest.mark.parametrize(("text", "due"), FORMS.items())
def test_a_file_is_taken_as_real_dnf_takes_it(tmp_path: Path, text: str, due: list[str] | None) -> None:
    write(tmp_path, {_CONF: text})
    if due is None:
        with pytest.raises(UnknownFact, match=r"^line \d+ of /etc/dnf/dnf\.conf "):
            sections(Tree(str(tmp_path)), _CONF)
    else:
        said = sections(Tree(str(tmp_path)), _CONF).get("main", {})
        assert [pattern for pattern, _ in excluded(said, _CONF)] == due


def test_excludes_that_may_concern_the_driver_are_told_with_their_file_and_others_are_not(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            _CONF: "[main]\ngpgcheck=1\nexclude=nvidia-driver* kernel* firefox *-mlnx\n",
            _CUDA: "[cuda]\nenabled=1\nexcludepkgs=cuda-drivers\n\n[off]\nenabled=0\nexcludepkgs=nvidia-open\n",
            "/etc/yum.repos.d/cuda.repo.rpmsave": "[old]\nexcludepkgs=nvidia-old\n",
        },
    )
    assert dnf(Tree(str(tmp_path)), _WITH).values["pins"] == [
        {"package": "nvidia-driver*", "pin": "excluded", "file": _CONF},
        {"package": "kernel*", "pin": "excluded", "file": _CONF},
        {"package": "*-mlnx", "pin": "excluded", "file": _CONF},
        {"package": "cuda-drivers", "pin": "excluded from cuda", "repository": "cuda", "file": _CUDA},
    ]
    assert ("*-mlnx", "excluded") not in _told(tmp_path)  # it is not known of which packages the host has any


@pytest.mark.parametrize(
    ("setting", "due"),
    [
        ("", ["excluded", "excluded from cuda"]),
        ("disable_excludes=main", ["excluded from cuda"]),
        ("disable_excludes=cuda, other", ["excluded"]),
        ("disable_excludes=all", []),
        ("reposdir=/srv/repos", ["excluded"]),
    ],
)
def test_an_exclude_that_dnf_is_told_not_to_heed_is_none(tmp_path: Path, setting: str, due: list[str]) -> None:
    write(tmp_path, {_CONF: f"[main]\nexclude=nvidia*\n{setting}\n", _CUDA: "[cuda]\nexclude=nvidia*\n"})
    assert [pin for _, pin in _told(tmp_path)] == due


def test_dnf_5_has_parts_and_overrides_and_dnf_4_heeds_none_of_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "/usr/share/dnf5/libdnf.conf.d/20-site.conf": "[main]\nexcludepkgs=nvidia-shipped\n",
            "/etc/dnf/libdnf5.conf.d/20-site.conf": "[main]\nexcludepkgs=nvidia-part\n",
            _CONF: "[main]\nexcludepkgs=nvidia-conf\n",
            _CUDA: "[cuda-13]\nexcludepkgs=nvidia-open\n[cuda-12]\nexcludepkgs=nvidia-open\n",
            "/etc/dnf/repos.override.d/9.repo": "[cuda-*]\nexcludepkgs=cuda-more\n[cuda-12]\nenabled=0\n",
            "/usr/bin/dnf5": "",
        },
    )
    repositories = [("nvidia-open", "excluded from cuda-13"), ("nvidia-open", "excluded from cuda-12")]
    assert _told(tmp_path) == [("nvidia-conf", "excluded"), *repositories]
    link(tmp_path, "/usr/bin/dnf", "dnf5")
    parts = [("nvidia-part", "excluded"), ("nvidia-conf", "excluded")]
    assert _told(tmp_path) == [*parts, repositories[0], ("cuda-more", "excluded from cuda-13")]
    write(tmp_path, {_CONF: "[main]\nexcludepkgs=\n"})
    assert _told(tmp_path) == [repositories[0], ("cuda-more", "excluded from cuda-13")]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({f"{_CONF}/x": ""}, "/etc/dnf/dnf.conf cannot be read (Is a directory)"),
        ({f"{_CUDA}/x": ""}, "/etc/yum.repos.d/cuda.repo cannot be read (Is a directory)"),
        ({_CUDA: "[cuda]\nexclude nvidia*\n"}, "line 2 of /etc/yum.repos.d/cuda.repo is no setting of a section"),
        ({_CUDA: "[cuda]\nenabled=maybe\n"}, "enabled in /etc/yum.repos.d/cuda.repo is 'maybe', which is neither"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_excludes_unknown(tmp_path: Path, files: dict[str, str], why: str) -> None:
    write(tmp_path, files)
    found = dnf(Tree(str(tmp_path)), _WITH)
    assert why in str(found.unknown["pins"])
    assert found.values == {"unattended_upgrades": False, "blacklist": []}


def test_a_host_without_any_file_of_settings_excludes_nothing(tmp_path: Path) -> None:
    assert _told(tmp_path, _WITH) == []
