# SPDX-License-Identifier: Apache-2.0
"""Which hosts are meant: real Ansible reads the inventory, and whatever is not known is refused in a sentence."""

from pathlib import Path

import pytest

from chaosgpu.errors import BadArgument, NotReached
from chaosgpu.fleet.everywhere import ask_everywhere
from chaosgpu.fleet.inventory import AGENT, Inventory, named_inventory
from chaosgpu.fleet.targets import LOCAL, chosen, known_hosts, one_host
from unit.fleet.conftest import Named


def test_without_an_inventory_only_this_host_is_known_and_reached() -> None:
    assert known_hosts() == (LOCAL,)
    assert chosen(["localhost", "local"]) == {LOCAL: (LOCAL,)}
    with pytest.raises(BadArgument, match="without an inventory, only 'localhost' can"):
        one_host("gpu1")


@pytest.mark.parametrize("hosts", ["", "  ", None, 3, ["gpu1"]])
def test_an_empty_selection_never_means_all_hosts(hosts: object) -> None:
    with pytest.raises(BadArgument, match="an empty selection never means all hosts"):
        one_host(hosts)


def test_patterns_mean_what_ansible_says_and_are_asked_for_once(named: Named) -> None:
    inventory = named(chaosgpu_blast_radius=3)
    wanted = ["gpu_nodes", "gpu_nodes:!down", "gpu_nodes[0]", "localhost"]
    with pytest.raises(BadArgument, match=r"means 4 hosts \(down, gpu1, gpu2, localhost\), and the blast radius is 3"):
        chosen(wanted)
    Path(inventory.sources[0]).unlink()  # what was asked once is known
    assert chosen(wanted[:3]) == {
        "gpu_nodes": ("down", "gpu1", "gpu2"),
        "gpu_nodes:!down": ("gpu1", "gpu2"),
        "gpu_nodes[0]": ("gpu1",),
    }
    assert one_host("gpu_nodes[0]") == "gpu1"
    with pytest.raises(BadArgument, match=r"means 3 hosts .*and one is due here"):
        one_host("gpu_nodes")


def test_the_limit_is_never_left(named: Named) -> None:
    named(chaosgpu_limit="gpu2")
    assert known_hosts() == ("gpu2",)
    with pytest.raises(BadArgument, match=r"means no host of the inventory .* within the limit 'gpu2'"):
        chosen(["gpu1"])


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("gpu1:gpu9:rack7", r"There is no host or group gpu9.* in the inventory .*hosts\.ini; nothing was touched"),
        ("nobody", "means no host of the inventory .*an empty selection never means all hosts"),
        ("with_localhost", "that name is this controller's own"),
        ("{{ lookup('pipe', 'id') }}", "without a template"),
    ],
)
def test_what_is_not_known_or_means_nothing_is_refused(named: Named, pattern: str, sentence: str) -> None:
    named(chaosgpu_blast_radius=9)
    with pytest.raises(BadArgument, match=sentence):
        chosen([pattern])


def test_an_inventory_that_cannot_be_read_is_refused_with_ansibles_reason(named: Named, tmp_path: Path) -> None:
    (tmp_path / "broken.yml").write_text("all: [this, is, none\n")
    named(chaosgpu_inventory=["hosts.ini", "broken.yml"])
    with pytest.raises(BadArgument, match=r"Ansible does not know which hosts .* nothing was touched: .*broken\.yml"):
        chosen(["gpu1"])


def test_a_configuration_names_the_inventory_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts.ini").touch()
    named = named_inventory({"chaosgpu_inventory": ["hosts.ini", "gpu1,"], "chaosgpu_blast_radius": "4", "x": 1})
    assert named == Inventory((str(tmp_path / "hosts.ini"), "gpu1,"), None, 4, AGENT)
    assert named_inventory({}) is None


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"chaosgpu_inventory": "nowhere.ini"}, "nowhere.ini does not exist here"),
        ({"chaosgpu_inventory": 7}, "must name a file, a folder"),
        ({"chaosgpu_limit": "a"}, "chaosgpu_limit is set without chaosgpu_inventory"),
        ({"chaosgpu_inventory": "a,", "chaosgpu_limit": 7}, "chaosgpu_limit must be an Ansible pattern"),
        ({"chaosgpu_inventory": "a,", "chaosgpu_blast_radius": 0}, "how many hosts may be touched at most, not 0"),
        ({"chaosgpu_inventory": "a,", "chaosgpu_blast_radius": "all"}, "not 'all'"),
        ({"chaosgpu_inventory": "a,", "chaosgpu_agent_path": "agent.pyz"}, "the agent's whole path"),
    ],
)
def test_a_wrong_value_is_told(configuration: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        named_inventory(configuration)


def test_without_an_inventory_another_name_is_never_taken_for_this_host() -> None:
    found = ask_everywhere(["gpu03"], "list", {}, 5)["gpu03"]
    assert isinstance(found, NotReached)
    assert "gpu03 is not this host" in str(found)
    assert "--inventory" in str(found)
