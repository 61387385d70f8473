# SPDX-License-Identifier: Apache-2.0
"""A host below a folder of the test: its files are written there, its programs say what the test lets them say."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chaosgpu.agent.clock import SystemClock, current_boot
from chaosgpu.agent.home import Home
from chaosgpu.agent.residue.finding import Unlooked
from chaosgpu.agent.residue.scene import Scene

# A host on which nothing is: what its programs say then.
QUIET = {
    "tc -j qdisc show": "[]",
    "ip -j -4 route show table all": "[]",
    "ip -j -6 route show table all": "[]",
    "ip -j -4 rule show": "[]",
    "ip -j -6 rule show": "[]",
    "nft -j list ruleset": '{"nftables": []}',
}


class Soon(SystemClock):
    """The host's clocks; who waits, waits a moment only, since nothing here needs to settle."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.002))


type MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(tmp_path: Path) -> MakeScene:
    """Make a scene below `root`, with these files in it."""

    def make(files: dict[str, str] | None = None, said: dict[str, str] | None = None, **changes: object) -> Scene:
        root = tmp_path / "root"
        quiet = {"/sys/kernel/debug/sleep_time": "", "/sys/class/rtc/rtc0/since_epoch": f"{SystemClock().wall_s():.0f}"}
        for name, text in {**quiet, **(files or {})}.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        told = {**QUIET, **(said or {})}

        def run(words: Sequence[str]) -> str:
            if " ".join(words) not in told:
                raise Unlooked(f"there is no program {words[0]} on this host")
            return told[" ".join(words)]

        parts: dict[str, object] = {
            "home": Home(str(tmp_path / "home"), limited=False),
            "clock": Soon(),
            "boot": current_boot(),
            "claims_directory": "/var/tmp",  # noqa: S108 (below the test's root)
            "command": ("/usr/libexec/chaosgpu/agent.pyz",),
            "halt_files": ("/run/chaosgpu/HALT",),
            "root": str(root),
            "run": run,
            "user_id": 0,
            **changes,
        }
        return Scene(**parts)  # type: ignore[arg-type]

    return make
