# SPDX-License-Identifier: Apache-2.0
"""The mirror is the one that apt uses here, told apart from other vendors', however it is written down."""

from pathlib import Path

import pytest

from bench.plan import BenchFailed
from bench.sources import debian_mirror

_DEBIAN = """\
Types: deb
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
_VENDORS = """\
Types: deb
URIs: https://vendor.example/node
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg

Types: deb
URIs: https://docker.example/linux/debian
Suites: bookworm
Components: stable
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def _write(apt: Path, name: str, text: str) -> None:
    (apt / "sources.list.d" / name).write_text(text)


def test_deb822_with_comments_inside(apt: Path) -> None:
    _write(apt, "debian.sources", _DEBIAN)
    assert debian_mirror(apt) == "http://mirror.example/debian"


def test_other_vendors_are_passed_over(apt: Path) -> None:
    _write(apt, "a-vendor.sources", _VENDORS)
    _write(apt, "debian.sources", _DEBIAN)
    assert debian_mirror(apt) == "http://mirror.example/debian"


def test_a_vendor_alone_is_no_mirror(apt: Path) -> None:
    _write(apt, "vendor.sources", _VENDORS)
    with pytest.raises(BenchFailed, match="No Debian mirror"):
        debian_mirror(apt)


def test_the_old_form_of_one_line(apt: Path) -> None:
    lines = (
        "# deb http://old.example/debian bookworm main\n"
        "deb-src http://src.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k/vendor.gpg] https://vendor.example/debian bookworm main\n"
        "deb [ arch=amd64 ] http://line.example/debian bookworm main contrib # ours\n"
    )
    (apt / "sources.list").write_text(lines)
    assert debian_mirror(apt) == "http://line.example/debian"


def test_what_is_switched_off_does_not_count(apt: Path) -> None:
    _write(apt, "debian.sources", "Enabled: no\n" + _DEBIAN.partition("\n\n")[0])
    _write(apt, "debian.sources.disabled", _DEBIAN)
    with pytest.raises(BenchFailed, match="No Debian mirror"):
        debian_mirror(apt)


def test_fields_over_several_lines(apt: Path) -> None:
    text = "Types: deb\nURIs:\n http://fold.example/debian\nSuites: bookworm\nComponents:\n main\n contrib\n"
    _write(apt, "debian.sources", text)
    assert debian_mirror(apt) == "http://fold.example/debian"
