# SPDX-License-Identifier: Apache-2.0
"""wrk, hey and Locust on one Triton model, each at its highest rate: what they say of themselves, requests a second."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chaosgpu.errors import LabFailed
from chaosgpu.lab.debian import library_path, unpacked
from chaosgpu.lab.install import cache_directory

__all__ = ["CONNECTIONS", "Asked", "Tool", "tools"]

CONNECTIONS = 16
_LOCUST = "locust==2.47.0"
_PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common", "hey")
_TIMES = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Asked:
    """One request, and for how long it is repeated."""

    url: str
    headers: dict[str, str]
    body: bytes
    seconds: int
    folder: Path


@dataclass(frozen=True)
class Tool:
    """A load tester: `run` returns requests a second and the p99 in milliseconds that it shows."""

    name: str
    run: Callable[[Asked], tuple[float, float]]


def tools() -> tuple[list[Tool], dict[str, str]]:
    """Return the tools that can be had here, and why the others cannot."""
    found, lacking = [], {}
    try:
        root = unpacked(_PACKAGES, lambda line: print(line, flush=True))
        found = [Tool("wrk", lambda asked: _wrk(root, asked)), Tool("hey", lambda asked: _hey(root, asked))]
    except LabFailed as error:
        lacking = {"wrk": str(error), "hey": str(error)}
    try:
        program = _locust_program()
        found.append(Tool("Locust", lambda asked: _locust(program, asked)))
    except (OSError, subprocess.SubprocessError) as error:
        lacking["Locust"] = str(error)
    return found, lacking


def _said(command: list[str], asked: Asked, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=asked.folder, env=environment, capture_output=True, text=True, timeout=asked.seconds + 60,
        check=True,
    )  # fmt: skip
    return done.stdout


def _wrk(root: Path, asked: Asked) -> tuple[float, float]:
    escaped = "".join(f"\\{byte:03d}" for byte in asked.body)
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in asked.headers.items())
    script = f'wrk.method = "POST"\nwrk.body = "{escaped}"\n{headers}'
    (asked.folder / "ask.lua").write_text(script)
    command = [
        str(root / "usr/bin/wrk"),
        "--latency",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{asked.seconds}s",
        "-s",
        "ask.lua",
    ]
    said = _said([*command, asked.url], asked, {**os.environ, "LD_LIBRARY_PATH": library_path(root)})
    if "Non-2xx" in said:
        raise ValueError(f"wrk got errors: {said}")
    number, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s|m)", said)[0]
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]), float(number) * _TIMES[unit]


def _hey(root: Path, asked: Asked) -> tuple[float, float]:
    (asked.folder / "body").write_bytes(asked.body)
    headers = [part for name, value in asked.headers.items() for part in ("-H", f"{name}: {value}")]
    command = [str(root / "usr/bin/hey"), "-m", "POST", "-c", str(CONNECTIONS), "-z", f"{asked.seconds}s", "-D", "body"]
    said = _said([*command, *headers, asked.url], asked)
    if "[200]" not in said or said.count("responses") > 1:
        raise ValueError(f"hey got errors: {said}")
    rate, p99_s = re.findall(r"Requests/sec:\s+([\d.]+)", said)[0], re.findall(r"99%+ in ([\d.]+) secs", said)[0]
    return float(rate), 1000 * float(p99_s)


def _locust_program() -> Path:
    """Install Locust into an environment of its own, once."""
    home = cache_directory() / _LOCUST.replace("==", "-")
    program = home / "bin/locust"
    if not program.exists():
        print(f"installing {_LOCUST} into {home}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, timeout=120)
        subprocess.run([str(home / "bin/pip"), "install", "-q", _LOCUST], check=True, timeout=300)
    return program


def _locust(program: Path, asked: Asked) -> tuple[float, float]:
    (asked.folder / "body").write_bytes(asked.body)
    (asked.folder / "locustfile.py").write_text(
        "import pathlib\n"
        "from locust import FastHttpUser, task\n"
        "BODY = pathlib.Path('body').read_bytes()\n"
        "class User(FastHttpUser):\n"
        "    @task\n"
        "    def ask(self):\n"
        f"        self.client.post({asked.url!r}, data=BODY, headers={asked.headers!r})\n"
    )
    host = asked.url.rsplit("/v2", 1)[0]
    command = [str(program), "--headless", "--json", "-u", str(CONNECTIONS), "-r", str(CONNECTIONS)]
    listed = json.loads(_said([*command, "-t", f"{asked.seconds}s", "-H", host], asked))
    if not listed:
        return 0.0, 0.0  # it had not begun when its time was over
    said = listed[0]
    if said["num_failures"]:
        raise ValueError(f"Locust got errors: {said}")
    times = sorted((float(ms), count) for ms, count in said["response_times"].items())
    left = 0.99 * sum(count for _, count in times)
    p99_ms = 0.0
    for ms, count in times:
        p99_ms, left = ms, left - count
        if left <= 0:
            break
    return said["num_requests"] / asked.seconds, p99_ms
