# SPDX-License-Identifier: Apache-2.0
"""Whatever way a program takes to the CUDA driver, its calls pass the shim; and nothing else is changed for it."""

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import chaosgpu.agent.shim
from chaosgpu.agent.shim.library import Library
from chaosgpu.agent.shim.toggle import GROUPS, Toggle
from chaosgpu.sim import instance
from unit.shim.conftest import turn_on
from unit.sim.conftest import Peer

SOURCES = Path(chaosgpu.agent.shim.__file__).parent
CALLS = re.findall(r"^CALL\((\w+), (\w+),", (SOURCES / "calls.h").read_text(), re.MULTILINE)


def _say(program: Path, *words: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("way", ["linked", "handle", "program", "default", "asked", "asked_v2"])
def test_each_way_to_the_driver_passes_the_shim(
    way: str, built: Callable[..., Path], gpus: instance.Instance, shim: Library, toggle: Toggle
) -> None:
    driver = Path(gpus.environment()["LD_LIBRARY_PATH"].split(":")[0]) / "libcuda.so.1"
    program = built("reach.c", str(driver), "-ldl")
    plain = dict(gpus.environment())
    under = {**plain, "LD_PRELOAD": shim.path, "CHAOSGPU_CUDA_ERRORS": toggle.folder}
    assert _say(program, way, environment=plain) == "0 0"
    assert _say(program, way, environment=under) == "0 0"
    turn_on(toggle, 2, ("alloc",))
    assert _say(program, way, environment=under) == "2 0"
    turn_on(toggle, 999, ("sync",))
    assert _say(program, way, environment=under) == "0 999"
    assert _say(program, way, environment=plain) == "0 0"
    assert toggle.failed() == {"alloc": 1, "launch": 0, "copy": 0, "sync": 1}


def test_a_driver_that_is_loaded_by_its_path_passes_the_shim(
    gpus: instance.Instance, start: Callable[[], Peer], toggle: Toggle
) -> None:
    peer = start()
    by_path = f"ctypes.CDLL({gpus.environment()['LD_LIBRARY_PATH'].split(':')[0] + '/libcuda.so.1'!r})"
    allocate = f"{by_path}.cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(4096))"
    assert peer(allocate) == 0
    turn_on(toggle, 700)
    assert peer(f"__import__('time').sleep(0.01) or {allocate}") == 700


def test_every_call_of_the_list_can_fail_and_one_that_the_driver_lacks_stays_missing(
    gpus: instance.Instance, start: Callable[[], Peer], toggle: Toggle
) -> None:
    peer = start()
    turn_on(toggle, 999, tuple(GROUPS))
    driver = Path(gpus.environment()["LD_LIBRARY_PATH"].split(":")[0]) / "libcuda.so.1"
    table = subprocess.run(["nm", "-D", "--defined-only", driver], capture_output=True, text=True, check=True).stdout
    has = {line.split()[-1] for line in table.splitlines()}
    names = [name for _, name in CALLS]
    assert len(has.intersection(names)) >= 8
    for name in names:
        called = peer(f"cuda.{name}() if hasattr(cuda, {name!r}) else 'missing'")
        assert called == (999 if name in has else "missing"), name


def test_other_functions_are_not_touched(start: Callable[[], Peer], toggle: Toggle) -> None:
    peer = start()
    before_mib = peer("used_mib()")
    assert peer("allocate(2)") == 0
    turn_on(toggle, 999, tuple(GROUPS))
    assert peer("__import__('time').sleep(0.01) or release()") == 0
    assert peer("used_mib()") == before_mib


@pytest.mark.parametrize(
    ("jump", "said"), [("-foptimize-sibling-calls", "found"), ("-fno-optimize-sibling-calls", "itself")]
)
def test_a_library_that_looks_behind_itself_finds_what_is_behind_it(
    jump: str, said: str, built: Callable[..., Path]
) -> None:
    """The second is the control: a dlsym that calls instead of jumping changes who the caller is."""
    files = [str(SOURCES / name) for name in ("shim.c", "toggle.c")]
    shim = built(files[0], files[1], "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden", jump, "-ldl")
    behind, user = built("next.c", "-fPIC", "-shared", "-ldl"), built("next_user.c")
    assert _say(user, environment={"LD_PRELOAD": f"{shim} {behind}"}) == said


def test_it_compiles_without_a_warning(built: Callable[..., Path]) -> None:
    strict = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-ldl")
    assert built(str(SOURCES / "shim.c"), str(SOURCES / "toggle.c"), *strict).exists()
