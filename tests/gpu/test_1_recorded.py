# SPDX-License-Identifier: Apache-2.0
"""What the card answers to every question that only reads, for the comparison of the simulator with it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaosgpu.agent.process import identity
from gpu import notes
from gpu.card import MIB, Card, until
from gpu.victims import victim

RECORDER = Path(__file__).with_name("recorder.py")


def test_every_getter_of_nvml_is_asked_and_what_it_answers_is_kept(card: Card, tmp_path: Path) -> None:
    into = Path(os.environ.get("CHAOSGPU_GPU_OUT", tmp_path)) / "recorded.jsonl"
    into.unlink(missing_ok=True)
    for _ in range(4):  # a call that ends the process is named last in the file, and left out the next time
        ended = subprocess.run([sys.executable, str(RECORDER), card.uuid, str(into)], check=False, timeout=60)
        if ended.returncode == 0:
            break
    lines = [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]
    asked = {line["call"] for line in lines if "asking" not in line}
    notes.at_least("NVML getters asked", len(asked), "calls", 80)
    notes.shown("NVML getters that answered", len({line["call"] for line in lines if "value" in line}), "calls")
    notes.shown("NVML getters not supported", len({line["call"] for line in lines if line.get("code") == 3}), "calls")


def test_nvml_lists_a_process_by_its_pid_with_the_bytes_that_it_holds(card: Card, tmp_path: Path) -> None:
    with victim("cuda", card.uuid, tmp_path) as one:
        bare = card.processes()
        assert one.ask("take", mib=1024)["code"] == 0
        held = card.processes()
        assert one.ask("take", mib=1)["code"] == 0
        one_more = card.processes()
        notes.keep("process list", {"pid": one.pid, "bare": bare, "with 1024 MiB": held, "with 1025 MiB": one_more})
        assert one.pid in held, f"NVML lists {held}, and our process is {one.pid}: other pids than ours"
        context, with_memory, more = bare[one.pid], held[one.pid], one_more[one.pid]
        assert context is not None
        assert with_memory is not None
        assert more is not None
        notes.shown("memory of a bare CUDA context, by the process list", context // MIB, "MiB")
        notes.equals("bytes of 1 GiB taken, by the process list", (with_memory - context) // MIB, 1024, "MiB")
        notes.shown("bytes of 1 MiB taken, by the process list", (more - with_memory) // MIB, "MiB")


def test_a_killed_process_gives_its_memory_back_by_itself(card: Card, tmp_path: Path) -> None:
    before = card.memory().used_mib
    with victim("cuda", card.uuid, tmp_path) as one:
        room = card.memory().free // MIB
        assert one.ask("take", mib=int(room * 0.9))["code"] == 0
        taken = card.memory().used_mib - before
        start = time.monotonic()
        os.kill(one.pid, signal.SIGKILL)
        assert until(lambda: card.memory().used_mib <= before, 15) is not None
        notes.shown("a process killed with", taken, "MiB")
        notes.at_most("memory free after its kill -9", time.monotonic() - start, "s", 10)


def test_memory_of_a_killed_process_while_a_fork_of_it_lives(card: Card) -> None:
    """Which of the two it is, is the card's word: the simulator says that it comes back at once."""
    script = (
        "import os, sys, time\nsys.path.insert(0, sys.argv[1])\nfrom victim import Device\n"
        "device = Device(sys.argv[2]); device.take(512)\nchild = os.fork()\n"
        "if child == 0:\n    time.sleep(4); os._exit(0)\n"
        "print(child, flush=True); time.sleep(30)\n"
    )
    words = [sys.executable, "-c", script, str(Path(__file__).parent), card.uuid]
    before = card.memory().used_mib
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        who = identity(child)
        parent.kill()
        parent.wait(10)
        took = until(lambda: card.memory().used_mib <= before, 8)
        assert took is not None, f"memory is still taken after the fork {child} ({who}) has ended"
    notes.shown("memory free after a kill -9 while a fork of the process lives 4 s on", took, "s")
