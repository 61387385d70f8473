# SPDX-License-Identifier: Apache-2.0
"""A tree of files as a GPU host has them, for readings that are told to look there."""

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["compiled_library", "compiled_module", "link", "loader_cache", "write"]

_X86_64, _AARCH64 = 0x0303, 0x0A03


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by their whole path below the root."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def link(root: Path, name: str, target: str) -> None:
    """Make a symbolic link below the root."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def loader_cache(libraries: Sequence[tuple[str, str]], *, foreign: Sequence[tuple[str, str]] = ()) -> bytes:
    """Write the loader's cache as ldconfig does: name and path of each library; `foreign` are of another machine."""
    entries = [(_X86_64, *one) for one in libraries] + [(_AARCH64, *one) for one in foreign]
    strings, places = b"", []
    start = 48 + 24 * len(entries)
    for _, name, path in entries:
        places.append((start + len(strings), start + len(strings) + len(name) + 1))
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    header = struct.pack("=20sII20s", b"glibc-ld.so.cache1.1", len(entries), len(strings), bytes(20))
    rows = (struct.pack("=iIIIQ", entry[0], *place, 0, 0) for entry, place in zip(entries, places, strict=True))
    return header + b"".join(rows) + strings


def compiled_library(path: Path, soname: str, symbol: str = "stand_in") -> Path:
    """Compile a real shared library that does nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    source.write_text(f"int {symbol}(void) {{ return 1; }}\n")
    _cc("-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(path), str(source))
    return path


def compiled_module(path: Path, version: str) -> Path:
    """Compile an object with the section in which a kernel module tells its version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_name("module.c")
    section = '__attribute__((section(".modinfo"), used)) static const char'
    source.write_text(f'{section} licence[] = "license=none";\n{section} version[] = "version={version}";\n')
    _cc("-c", "-o", str(path), str(source))
    return path


def _cc(*words: str) -> None:
    subprocess.run(["cc", *words], check=True, timeout=60)
