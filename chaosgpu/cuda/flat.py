# SPDX-License-Identifier: Apache-2.0
"""A host's facts as one level of names and values, so that they can be compared, locked and spoken about."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaosgpu.cuda.facts import Facts
from chaosgpu.fleet.redaction import redact_text
from chaosgpu.fleet.values import JsonObject, JsonValue

__all__ = ["PER_GPU", "Flat", "Value", "flat", "shown"]

type Value = str | int | float | bool | tuple[str, ...]

# What two GPUs of one rack have in common; what tells one from the next (serial number, bus) is no drift.
PER_GPU = (
    "product", "compute_capability", "memory_mib", "vbios", "inforom_image", "inforom_oem", "inforom_ecc",
    "inforom_power", "gsp_firmware", "pcie_generation", "pcie_width", "persistence", "compute_mode", "ecc",
    "ecc_pending", "mig", "mig_pending", "power_limit_watts", "default_power_limit_watts", "application_sm_mhz",
    "application_memory_mhz", "max_sm_mhz", "max_memory_mhz",
)  # fmt: skip

# Words of the kernel's command line that name a disk or an address: every host has its own.
_OF_ONE_HOST = ("root=", "resume=", "BOOT_IMAGE=", "initrd=", "ip=", "nfsroot=", "systemd.machine_id=", "cryptdevice=")


@dataclass(frozen=True)
class Flat:
    """Each value by its whole name, such as driver.module, and why those are unknown that are."""

    host: str
    values: Mapping[str, Value]
    unknown: Mapping[str, str]

    def why(self, key: str) -> str | None:
        """Return why a value is unknown, by its own name or by what it belongs to; None where it is known absent."""
        parts = key.split(".")
        names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((self.unknown[name] for name in names if name in self.unknown), None)


def flat(facts: Facts) -> Flat:
    """Flatten a document."""
    values: dict[str, Value] = {}
    unknown = dict(facts.unknown)
    for section in ("kernel", "driver", "triton", "units", "nics"):
        values.update(_plain(section, facts.section(section)))
    if isinstance(line := values.get("kernel.command_line"), str):
        values["kernel.command_line"] = redact_text(
            " ".join(word for word in line.split() if not word.startswith(_OF_ONE_HOST))
        )
    values.update(_cuda(facts.section("cuda")))
    values.update(_packages(facts, unknown))
    values.update(_containers(facts, unknown))
    for service, families in facts.section("services").items():
        values.update(_service(service, families))
    for name, environment in facts.section("environments").items():
        values.update(_environment(name, environment))
    for path, engine in facts.section("engines").items():
        values.update(_plain(f"engines.{path}", engine))
    values.update(_gpus(facts, unknown))
    return Flat(facts.host, values, unknown)


def shown(value: Value | None) -> str:
    """Write a value as a person reads it."""
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return "on" if value else "off"
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)


def _plain(prefix: str, source: JsonValue) -> dict[str, Value]:
    """Flatten an object of simple values, lists of texts, and objects of the same kind."""
    found: dict[str, Value] = {}
    for name, value in source.items() if isinstance(source, dict) else ():
        if isinstance(value, dict):
            found.update(_plain(f"{prefix}.{name}", value))
        elif isinstance(value, list):
            found[f"{prefix}.{name}"] = tuple(str(one) for one in value)
        elif value is not None:
            found[f"{prefix}.{name}"] = value
    return found


def _cuda(section: JsonObject) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name in ("toolkits", "forward_compat"):
        listed = section.get(name)
        if isinstance(listed, dict):
            found[f"cuda.{name}"] = tuple(sorted(_pair(key, value) for key, value in listed.items()))
    if isinstance(section.get("default"), str):
        found["cuda.default"] = str(section["default"])
    libraries = section.get("libraries")
    for family, paths in libraries.items() if isinstance(libraries, dict) else ():
        if isinstance(paths, list):
            found[f"cuda.libraries.{family}"] = tuple(str(path).rpartition("/")[2] for path in paths)
    return found


def _pair(key: str, value: JsonValue) -> str:
    """Write a toolkit by its whole version alone, and a compatibility package as CUDA=driver."""
    return str(value) if str(value).startswith(key) else f"{key}={value}"


def _packages(facts: Facts, unknown: dict[str, str]) -> dict[str, Value]:
    section, apt = facts.section("packages"), facts.section("apt")
    found = _plain("packages", section.get("installed"))
    if isinstance(section.get("broken"), dict):
        found.update(_plain("broken", section["broken"]))
    if isinstance(section.get("holds"), list):
        found["apt.holds"] = tuple(str(name) for name in _listed(section.get("holds")))
    pins = [one for one in _listed(apt.get("pins")) if isinstance(one, dict)]
    if "pins" in apt:
        words = ([str(one.get(name, "")) for name in ("package", "pin", "priority")] for one in pins)
        found["apt.pins"] = tuple(" ".join(word for word in row if word) for row in words)
    if isinstance(apt.get("unattended_upgrades"), bool):
        found["apt.unattended_upgrades"] = bool(apt["unattended_upgrades"])
    if "packages.installed" in unknown:
        unknown["packages"] = unknown.pop("packages.installed")
        unknown["apt.holds"] = unknown["packages"]
    elif "packages.holds" in unknown:
        unknown["apt.holds"] = unknown.pop("packages.holds")
    return found


def _listed(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _containers(facts: Facts, unknown: dict[str, str]) -> dict[str, Value]:
    section = facts.section("containers")
    found = {
        f"containers.{name}": str(section[name])
        for name in ("toolkit", "runtime_config", "cdi_driver")
        if isinstance(section.get(name), str)
    }
    images = section.get("images")
    for name, image in images.items() if isinstance(images, dict) else ():
        if isinstance(image, dict):
            found[f"images.{name}"] = f"{image.get('image')}@{image.get('digest')}"
    if "containers.images" in unknown:
        unknown["images"] = unknown.pop("containers.images")
    return dict(found)


def _service(service: str, families: JsonValue) -> dict[str, Value]:
    """Return the versions of each family that a service has loaded: two of one family are two entries."""
    found: dict[str, Value] = {}
    for family, files in families.items() if isinstance(families, dict) else ():
        entries = [one for one in _listed(files) if isinstance(one, dict)]
        found[f"services.{service}.{family}"] = tuple(sorted(str(one.get("version") or "?") for one in entries))
    return found


def _environment(name: str, environment: JsonValue) -> dict[str, Value]:
    if not isinstance(environment, dict):
        return {}
    found = _plain(f"environments.{name}.packages", environment.get("packages"))
    if isinstance(environment.get("python"), str):
        found[f"environments.{name}.python"] = str(environment["python"])
    return found


def _gpus(facts: Facts, unknown: dict[str, str]) -> dict[str, Value]:
    """Return what all GPUs of the host have in common, and where they differ each value with how many have it."""
    section = facts.section("gpus")
    if "gpus" not in facts.values:
        return {}
    lost = [name for name in unknown if name.startswith("gpus.") and name.count(".") == 1]
    if lost:
        unknown["gpus"] = unknown[lost[0]]
        return {}
    gpus = {uuid: one for uuid, one in section.items() if isinstance(one, dict)}
    found: dict[str, Value] = {"gpus.count": len(gpus)}
    for name in PER_GPU:
        whys = [unknown[f"gpus.{uuid}.{name}"] for uuid in gpus if f"gpus.{uuid}.{name}" in unknown]
        values = [value for one in gpus.values() for value in _simple(one.get(name))]
        if whys:
            unknown[f"gpus.{name}"] = whys[0]
        elif values:
            found[f"gpus.{name}"] = _together(values)
    return found


def _simple(value: JsonValue) -> Iterator[str | int | float | bool]:
    if isinstance(value, (str, int, float, bool)):
        yield value


def _together(values: list[str | int | float | bool]) -> Value:
    counted = Counter(values)
    if len(counted) == 1:
        return values[0]
    return tuple(sorted(f"{shown(value)} x{count}" for value, count in counted.items()))
