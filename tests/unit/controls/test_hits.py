# SPDX-License-Identifier: Apache-2.0
"""What an experiment will hit, as it is told before anything is touched."""

from typing import Any

from chaosgpu.controls.hits import what_is_hit


def _action(name: str, module: str, **arguments: object) -> dict[str, Any]:
    return {"name": name, "provider": {"type": "python", "module": module, "func": "f", "arguments": arguments}}


def test_an_action_on_a_disk_says_that_all_who_write_there_are_hit() -> None:
    (hit,) = what_is_hit([_action("full", "chaosgpu.host.actions", folder="/srv/db", hosts="localhost")], {})
    assert (hit.host, hit.gpu) == ("localhost", None)
    assert hit.actions == ("full (all that write to the file system under /srv/db)",)


def test_a_folder_of_somebody_elses_action_and_an_action_without_one_say_nothing_of_disks() -> None:
    theirs = _action("theirs", "mine.actions", folder="/srv/db", gpu="GPU-1")
    ours = _action("ours", "chaosgpu.host.actions", unit="a.service", hosts="localhost")
    assert [hit.actions for hit in what_is_hit([theirs, ours], {})] == [("theirs",), ("ours",)]
