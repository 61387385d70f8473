# SPDX-License-Identifier: Apache-2.0
"""The answers of the probes of drift: one host is asked for as little as the question needs."""

import datetime as dt
import logging
import re
from pathlib import Path

from chaosgpu.cuda import lockfile
from chaosgpu.cuda.compatibility import compatibility
from chaosgpu.cuda.facts import Facts, LookAt, take_facts
from chaosgpu.cuda.judged import enough
from chaosgpu.cuda.report import as_json, as_text
from chaosgpu.cuda.rules.services import files_of
from chaosgpu.cuda.scan import DRIFT, UNKNOWN, Scan, scan
from chaosgpu.cuda.support import Support, driver_supports
from chaosgpu.cuda.versions import numbers, upstream
from chaosgpu.errors import BadArgument, ChaosGpuError, ReadingUnknown
from chaosgpu.fleet.arguments import one_of
from chaosgpu.fleet.targets import one_host
from chaosgpu.fleet.values import JsonObject, JsonValue, seconds

__all__ = ["is_drift_free", "loaded", "loaded_once", "report", "support", "supports", "versions_match"]

_LEAST = ("full", "minor", "forward")
_SERVICE = re.compile(r"pid:\d+|[A-Za-z0-9:_.\\@-]{1,240}\.(?:service|scope)")
_ANY = re.compile(r"[^\0]+")
_LIBRARY = re.compile(r"lib[A-Za-z0-9_-]+")

logger = logging.getLogger("chaostoolkit")


def is_drift_free(lock: str, hosts: str, timeout_s: float) -> bool:
    """Scan one host against the lock file; unknown raises unless there is drift anyway."""
    found = _scanned(lock, hosts, timeout_s)
    if found.exit_code == DRIFT:
        for line in as_text(found, explain=True).splitlines():
            logger.warning("%s", line)
        return False
    if found.exit_code == UNKNOWN:
        first = found.unread[0]
        raise ReadingUnknown(
            f"Whether {first.host} drifted is unknown: {len(found.unread)} locked values cannot be read, the first is "
            f"{first.key}: {first.why}. Take them out of the lock file, or ask as root."
        )
    return True


def report(lock: str, hosts: str, timeout_s: float) -> JsonObject:
    """Return what a scan of one host found."""
    found = as_json(_scanned(lock, hosts, timeout_s))
    return {name: found[name] for name in ("differences", "findings", "unread")}


def _scanned(lock: str, hosts: str, timeout_s: float) -> Scan:
    read = lockfile.read(Path(_text("lock", lock, _ANY, "the path of a lock file")))
    also = read.look_at
    facts = _facts(hosts, LookAt(also.services, also.environments, also.engines, also.triton), timeout_s)
    return scan({facts.host: facts}, read, compatibility(), dt.datetime.now(dt.UTC).date())


def _facts(hosts: str, look_at: LookAt, timeout_s: float) -> Facts:
    within_s, host = seconds("timeout_s", timeout_s), one_host(hosts)
    answer = take_facts([host], look_at, within_s)[host]
    if isinstance(answer, ChaosGpuError):
        raise answer
    return answer


def versions_match(hosts: str, timeout_s: float) -> bool:
    """Compare module, libraries and package of the driver."""
    facts = _facts(hosts, LookAt(sections=["driver"]), timeout_s)
    found = {name: _known(facts, "driver", name) for name in ("module", "library", "nvml_library")}
    package = facts.text("driver", "package")
    if package is not None:
        found["package"] = upstream(package)
    elif "no package of the driver" not in facts.why("driver", "package"):
        _known(facts, "driver", "package")
    if len(set(found.values())) > 1:
        logger.warning("The driver of %s is of several versions: %s", facts.host, found)
    return len(set(found.values())) == 1


def supports(cuda: str, least: str, hosts: str, timeout_s: float) -> bool:
    """Judge the driver that runs; ReadingUnknown where the data does not know."""
    one_of("least", least, _LEAST)
    found = support(cuda, hosts, timeout_s)
    if found["support"] == Support.UNKNOWN.value:
        raise ReadingUnknown(
            f"Whether driver {found['driver']} of {hosts} runs CUDA {cuda} is unknown: {found['why']}."
        )
    return enough(str(found["support"]), least)


def support(cuda: str, hosts: str, timeout_s: float) -> JsonObject:
    """Judge the driver that runs, with the reason."""
    numbers(_text("cuda", cuda, _ANY, "a version as a text, such as '12.9.1'"))
    facts = _facts(hosts, LookAt(sections=["driver", "cuda"]), timeout_s)
    driver = _known(facts, "driver", "module")
    compat = facts.section("cuda").get("forward_compat")
    packages = {name: str(version) for name, version in compat.items()} if isinstance(compat, dict) else {}
    verdict = driver_supports(compatibility(), driver, cuda, packages)
    return {"support": verdict.support.value, "driver": driver, "why": verdict.why}


def loaded_once(unit: str, library: str, hosts: str, timeout_s: float) -> bool:
    """Tell whether one file is behind a library of a service; ReadingUnknown where none is."""
    _text("library", library, _LIBRARY, "a file's name up to .so, such as libcusparse")
    families = loaded(unit, hosts, timeout_s)
    files = files_of(families, library)
    if not files:
        known = ", ".join(families) or "none that we look for"
        raise ReadingUnknown(
            f"{unit} on {hosts} has not loaded {library}; it has: {known}. Ask when it has answered a request, or name "
            "another library."
        )
    for one in files if len(files) > 1 else ():
        logger.warning("%s has loaded %s from %s (%s)", unit, library, one.get("path"), one.get("version"))
    return len(files) == 1


def loaded(unit: str, hosts: str, timeout_s: float) -> JsonObject:
    """Return the libraries of a service; ReadingUnknown where it cannot be looked into."""
    _text("unit", unit, _SERVICE, "a whole name such as triton.service, or pid:N")
    facts = _facts(hosts, LookAt(services=[unit], sections=["services"]), timeout_s)
    found: JsonValue = facts.section("services").get(unit)
    if not isinstance(found, dict):
        raise ReadingUnknown(f"What {unit} on {facts.host} has loaded is unknown: {facts.why('services', unit)}.")
    return found


def _text(name: str, value: object, form: re.Pattern[str], what: str) -> str:
    """Check a text; experiments are not typed."""
    if not isinstance(value, str) or not form.fullmatch(value):
        raise BadArgument(f"{name} must be {what}, not {value!r}.")
    return value


def _known(facts: Facts, section: str, name: str) -> str:
    found = facts.text(section, name)
    if found is None:
        raise ReadingUnknown(f"{section}.{name} of {facts.host} is unknown: {facts.why(section, name)}.")
    return found
