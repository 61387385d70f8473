# SPDX-License-Identifier: Apache-2.0
"""Whether module, library and package of the driver are one version, and whether what hangs on it is."""

from collections.abc import Iterator

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules.finding import Finding, Level
from chaosgpu.cuda.versions import upstream
from chaosgpu.errors import BadArgument

__all__ = ["judge"]

_NVML_18 = "NVML answers 18 and CUDA 803 to every process that starts now; those that run go on until they end"
_OWN = "chaosgpu: the driver refuses another library than its own"


def judge(facts: Facts, data: Compatibility) -> Iterator[Finding]:
    """Compare the versions of one driver."""
    module, library = facts.text("driver", "module"), facts.text("driver", "library")
    if module and library and module != library:
        yield Finding(
            facts.host, "library-is-not-the-modules", Level.BREAKS, ("driver.module", "driver.library"),
            f"The kernel runs driver {module} and the library is {library}: {_NVML_18}. Reboot, or put back {module}.",
            _OWN,
        )  # fmt: skip
    yield from _of_nvml(facts, library)
    yield from _of_disk(facts, module)
    yield from _of_package(facts, module)
    yield from _exact(facts, data, module)


def _of_nvml(facts: Facts, library: str | None) -> Iterator[Finding]:
    other = facts.text("driver", "nvml_library")
    if library and other and library != other:
        yield Finding(
            facts.host, "two-drivers-libraries", Level.BREAKS, ("driver.library", "driver.nvml_library"),
            f"libcuda is of driver {library} and libnvidia-ml of {other}: an installation was cut off, or mixed. "
            "Install all packages of one version.",
            _OWN,
        )  # fmt: skip


def _of_disk(facts: Facts, module: str | None) -> Iterator[Finding]:
    """Say what the next boot will do."""
    on_disk = facts.text("driver", "module_on_disk")
    if module and on_disk and module != on_disk:
        yield Finding(
            facts.host, "next-boot-changes-the-driver", Level.RISK, ("driver.module", "driver.module_on_disk"),
            f"Driver {module} runs, and {on_disk} is on the disk for this kernel: the next boot changes it.",
            "chaosgpu: the module on the disk is what a boot loads",
        )  # fmt: skip
    why = facts.why("driver", "module_on_disk")
    if module and on_disk is None and "no NVIDIA module is on the disk" in why:
        yield Finding(
            facts.host, "next-boot-has-no-driver", Level.BREAKS, ("driver.module", "driver.module_on_disk"),
            f"Driver {module} runs, but {why}: after the next boot there is no GPU. Build it (dkms autoinstall).",
            "chaosgpu: an installation succeeds without a module for the kernel that runs",
        )  # fmt: skip


def _of_package(facts: Facts, module: str | None) -> Iterator[Finding]:
    package, name = facts.text("driver", "package"), facts.text("driver", "package_name")
    if not (module and package):
        return
    try:
        installed = upstream(package)
    except BadArgument:
        return
    if installed != module:
        yield Finding(
            facts.host, "installed-is-not-loaded", Level.BREAKS, ("driver.module", "driver.package"),
            f"The package {name} is of driver {installed} and the kernel runs {module}: it was upgraded under running "
            f"services, and what starts now fails ({_NVML_18}). Reboot, or go back to {module}.",
            "lyulyul/shine-cluster issues 30 and 50 (reported)",
        )  # fmt: skip


def _exact(facts: Facts, data: Compatibility, module: str | None) -> Iterator[Finding]:
    installed = facts.section("packages").get("installed")
    for entry in data.exact_match if module and isinstance(installed, dict) else ():
        for name, version in installed.items() if isinstance(installed, dict) else ():
            if name != entry.package and not name.startswith(f"{entry.package}-"):
                continue
            try:
                have = upstream(str(version))
            except BadArgument:
                continue
            if have != module:
                yield Finding(
                    facts.host, "must-be-the-drivers-version", Level.BREAKS, ("driver.module", f"packages.{name}"),
                    f"{name} is {have} and the driver {module}: {entry.breaks}. Install {name} of {module}.",
                    data.cited(entry.source),
                )  # fmt: skip
