# SPDX-License-Identifier: Apache-2.0
"""A sample of the null runs: on a sound host, in every state that one is in, nothing is found of any owner."""

import random

import pytest

from bench.hosts import Host
from residue import SCENES, read


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("scene", [name for name in SCENES if name != "rebooted"])
def test_a_sound_host_has_no_residue(host: Host, scene: str, number: int) -> None:
    with SCENES[scene](host, random.Random(f"{scene} {number}")):
        assert read(host)["values"]["findings"] == []


def test_a_host_that_was_just_started_has_no_residue(host: Host) -> None:
    with SCENES["rebooted"](host, random.Random(0)):
        assert read(host)["values"]["findings"] == []
