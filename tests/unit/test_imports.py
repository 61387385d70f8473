# SPDX-License-Identifier: Apache-2.0
"""What importing this package costs, and what it must not pull in."""

import subprocess
import sys

import pytest

# What Chaos Toolkit itself has loaded before it imports the module of an activity.
_HOST = "import chaostoolkit.cli, chaoslib.experiment"
HEAVY = {"pynvml", "rich", "pydantic", "logzero", "numpy", "tritonclient", "ansible_runner", "jsonschema", "asyncio"}
BUDGET_S = 0.030  # issue: `import chaosgpu.gpu.actions` adds at most 30 ms to an empty `chaos run`


def _python(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


# How long this takes on a core of its own: without the time in which other processes had the core (schedstat(5)).
_CLOCK = """
import time
def now_s():
    with open("/proc/self/schedstat") as file:
        return time.perf_counter() - int(file.read().split()[1]) / 1e9
"""


def _seconds_added(module: str) -> float:
    return float(_python(f"{_HOST}\n{_CLOCK}\nstart = now_s()\nimport {module}\nprint(now_s() - start)"))


@pytest.mark.parametrize(
    "module", ["chaosgpu.gpu.actions", "chaosgpu.gpu.probes", "chaosgpu.lease.actions", "chaosgpu.fleet.actions"]
)
def test_importing_an_activity_module_pulls_in_nothing_heavy(module: str) -> None:
    script = f"{_HOST}\nimport sys\nbefore = set(sys.modules)\nimport {module}\nprint(*(set(sys.modules) - before))"
    added = set(_python(script).split())
    assert module in added
    assert {name.partition(".")[0] for name in added} & HEAVY == set()
    assert not {name for name in added if name.startswith(("chaosgpu.sim", "chaosgpu.lab", "chaosgpu.agent"))}


def test_importing_the_gpu_actions_stays_within_its_budget() -> None:
    # The least of several: what else the machine does can only add.
    assert min(_seconds_added("chaosgpu.gpu.actions") for _ in range(5)) <= BUDGET_S


def test_an_import_beyond_the_budget_would_be_seen() -> None:
    assert _seconds_added("time; time.sleep(0.05)") > BUDGET_S


def test_the_package_itself_imports_without_chaos_toolkit() -> None:
    added = set(
        _python("import sys\nbefore = set(sys.modules)\nimport chaosgpu\nprint(*(set(sys.modules) - before))").split()
    )
    assert added == {"chaosgpu"}


def test_the_agent_imports_without_chaos_toolkit_and_pydantic() -> None:
    script = "import sys\nimport chaosgpu.agent.faults.contract\nprint(*sys.modules)"
    assert (
        set(_python(script).split()) & {"chaoslib", "pydantic", "yaml", "requests", "rich", "chaosgpu.errors"} == set()
    )


@pytest.mark.parametrize("before_asking", ["", "import chaosgpu.cuda.answers", "import chaosgpu.cuda.judgement"])
def test_a_command_loads_no_tables_and_a_scan_without_a_lock_file_no_checks_of_yaml(before_asking: str) -> None:
    script = (
        "import sys\nfrom chaosgpu.cli.main import main\n"
        f"try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n{before_asking}\nprint(*sys.modules)"
    )
    assert {name.partition(".")[0] for name in _python(script).split()} & (HEAVY - {"logzero"}) == set()


def test_the_reading_of_facts_loads_no_fault_and_no_other_reading() -> None:
    script = (
        "import sys\nimport chaosgpu.agent.main\nbefore = set(sys.modules)\nfrom chaosgpu.agent.readings import verbs\n"
        "from chaosgpu.agent.facts import document\nprint(*(set(sys.modules) - before))"
    )
    loaded = set(_python(script).split())
    assert "chaosgpu.agent.facts.document" in loaded
    assert not {
        name for name in loaded if name.startswith(("chaosgpu.agent.residue", "chaosgpu.agent.readings.doctor"))
    }


def test_a_subcommand_loads_no_other_and_help_and_mistakes_load_all() -> None:
    script = (
        "import sys\nfrom chaosgpu.cli.main import main\n"
        "try:\n    main({})\nexcept SystemExit:\n    pass\nprint(*sys.modules)"
    )
    for words, others in (
        (["drift", "--help"], False),
        (["--help"], True),
        (["drif"], True),
        (["self-drill", "-h"], False),
    ):
        loaded = {name for name in _python(script.format(words)).split() if name.startswith("chaosgpu.cli.")}
        assert ("chaosgpu.cli.lab" in loaded) == others, words
        assert f"chaosgpu.cli.{words[0].replace('-', '_')}" in loaded or others
