# SPDX-License-Identifier: Apache-2.0
"""`--inventory` and `--limit` of the command: every host is asked, and none that gives no answer counts as clean."""

import pytest

from chaosgpu.cli.main import main
from unit.fleet.conftest import Named


def test_halt_tells_of_every_host_of_the_inventory_that_it_is_cut_off(
    named: Named, capsys: pytest.CaptureFixture[str]
) -> None:
    named()  # writes it; nothing of it is used by the command
    code = main(["halt", "--inventory", "hosts.ini", "--limit", "gpu1:down", "--reason", "a test"])
    told = capsys.readouterr().out
    assert code == 5
    assert "gpu1  CUT OFF, nobody knows what is in force there: gpu1 has no agent at /usr/libexec/chaosgpu/" in told
    assert "down  CUT OFF, nobody knows what is in force there: down cannot be reached" in told
    assert "gpu2" not in told


def test_a_limit_without_an_inventory_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leases", "--limit", "gpu1"]) == 2
    assert "--limit is of an inventory: name it with --inventory." in capsys.readouterr().err


def test_one_host_is_asked_by_hand(named: Named, capsys: pytest.CaptureFixture[str]) -> None:
    named()
    assert main(["agent", "list", "--inventory", "hosts.ini", "--limit", "gpu_nodes:!down"]) == 2
    assert "2 are meant (gpu1, gpu2): name it with --limit" in capsys.readouterr().err
