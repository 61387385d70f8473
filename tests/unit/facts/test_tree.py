# SPDX-License-Identifier: Apache-2.0
"""No path leads out of the root that was named, and what cannot be read has its reason."""

import os
from pathlib import Path

import pytest

from chaosgpu.agent.facts.tree import Tree, UnknownFact
from support.host_tree import link, write


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    write(tmp_path, {"/root/etc/name": "inside\n", "/outside": "secret"})
    return Tree(str(tmp_path / "root"))


@pytest.mark.parametrize("target", ["/outside", "../../outside", "/../../outside", "/etc/../../../outside"])
def test_a_link_never_leads_out_of_the_root(tree: Tree, tmp_path: Path, target: str) -> None:
    link(tmp_path / "root", "etc/link", target)
    assert tree.exists("/etc/link") is False
    with pytest.raises(UnknownFact, match="is not there"):
        tree.read("/etc/link")


def test_links_are_followed_inside_the_root(tree: Tree, tmp_path: Path) -> None:
    link(tmp_path / "root", "one", "/two")
    link(tmp_path / "root", "two", "etc")
    assert tree.text("/one/name") == "inside"
    assert tree.real("/one/name") == "/etc/name"
    assert tree.split("/one/name") == ("/etc", "name")


def test_a_link_that_goes_in_circles_is_unknown(tree: Tree, tmp_path: Path) -> None:
    link(tmp_path / "root", "a", "/b")
    link(tmp_path / "root", "b", "/a")
    with pytest.raises(UnknownFact, match="goes in circles"):
        tree.exists("/a")


def test_a_folder_that_is_not_there_has_no_names_only_where_that_was_asked_for(tree: Tree) -> None:
    assert tree.some_names("/nowhere") == []
    with pytest.raises(UnknownFact, match="/nowhere is not there"):
        tree.names("/nowhere")


def test_the_kernels_own_settings_are_read_whole() -> None:
    assert Tree().text("/proc/sys/kernel/osrelease") == os.uname().release
    assert Tree().is_host
    assert not Tree("/srv").is_host


def test_only_so_much_is_read_as_was_asked_for(tree: Tree) -> None:
    assert tree.read("/etc/name", 3) == b"ins"
