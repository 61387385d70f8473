# SPDX-License-Identifier: Apache-2.0
"""A root folder with real apt and dpkg in it, and a repository beside it; nothing of this machine is read."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaosgpu.agent.packages.facts import Facts, look
from chaosgpu.agent.packages.tools import Tools
from support.debs import OLD, build_repository

HOLDS = ("nvidia-open", "nvidia-fabricmanager")
_FOLDERS = (
    "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d", "etc/modprobe.d",
    "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial", "var/log/apt", "tmp",
)  # fmt: skip


@dataclass
class Root:
    """A root folder with the old driver in it, on hold."""

    tools: Tools
    repository: Path

    @property
    def facts(self) -> Facts:
        """Look at it."""
        return look(self.tools)

    def versions(self) -> dict[str, str]:
        """Return what is installed."""
        return {name: one.version for name, one in self.facts.packages.items() if one.there}

    def read_repository(self) -> None:
        """Tell apt of the repository, and have it read the index."""
        source = f"deb [trusted=yes] file:{self.repository} ./\n"
        self.tools.path("/etc/apt/sources.list.d/local.list").write_text(source)
        listed = self.apt("update")
        assert listed.returncode == 0, listed.stderr

    def own_repository(self) -> None:
        """Use a copy of the repository, from which a test may take something away."""
        self.repository = Path(shutil.copytree(self.repository, Path(self.tools.root).parent / "repository"))
        self.read_repository()

    def apt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run apt-get as a person would."""
        return subprocess.run(
            self.tools.apt("apt-get", "-q", "-y", *words), capture_output=True, text=True, check=False, timeout=60
        )

    def dpkg(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run dpkg as a person would."""
        return subprocess.run(self.tools.dpkg(*words), capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Build the repository and install the old driver once, with two packages on hold and one automatic."""
    folder = tmp_path_factory.mktemp("packages")
    build_repository(folder / "repository", scripts=False)
    for name in _FOLDERS:
        (folder / "root" / name).mkdir(parents=True)
    (folder / "root/var/lib/dpkg/status").touch()
    (folder / "root/etc/machine-id").write_text("0123\n")
    found = Root(Tools(str(folder / "root")), folder / "repository")
    done = found.dpkg("-i", *map(str, sorted(found.repository.glob(f"*_{OLD}_*.deb"))))
    assert done.returncode == 0, done.stderr
    found.read_repository()
    held = "".join(f"{name} hold\n" for name in HOLDS)
    subprocess.run(found.tools.dpkg("--set-selections"), input=held, text=True, check=True, timeout=20)
    marks = "Package: nvidia-utils\nArchitecture: amd64\nAuto-Installed: 1\n"
    found.tools.path("/var/lib/apt/extended_states").write_text(marks)
    return found


@pytest.fixture
def root(made: Root, tmp_path: Path) -> Root:
    """Give a copy of that root; the repository is the common one."""
    shutil.copytree(made.tools.root, tmp_path / "root", symlinks=True)
    return Root(Tools(str(tmp_path / "root")), made.repository)
