# SPDX-License-Identifier: Apache-2.0
"""A world of its own for each test, with people whose keys are made once."""

from pathlib import Path

import pytest

from support.drills import People, World


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return People(tmp_path_factory.mktemp("people"))


@pytest.fixture
def world(tmp_path: Path, people: People) -> World:
    return World(tmp_path, people)
