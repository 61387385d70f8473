# SPDX-License-Identifier: Apache-2.0
"""A host's facts with some values changed: what a change would break, before anybody makes it."""

from collections.abc import Mapping, Sequence

from chaosgpu.cuda.compatibility import Compatibility
from chaosgpu.cuda.facts import Facts
from chaosgpu.cuda.rules import Finding, findings
from chaosgpu.errors import BadArgument
from chaosgpu.fleet.values import JsonObject, JsonValue, whole_object

__all__ = ["changed", "new_findings"]

# The sections whose values are texts of their own; of the others a whole list would have to be written.
_SIMPLE = ("kernel", "driver", "triton", "units")
_PACKAGE = "packages."


def changed(facts: Facts, values: Mapping[str, str]) -> Facts:
    """Return the facts with these values instead; BadArgument for a name that cannot be set."""
    document: JsonObject = dict(facts.values)
    unknown = dict(facts.unknown)
    for key, value in values.items():
        section, _, name = key.partition(".")
        if key.startswith(_PACKAGE):
            packages = dict(whole_object(document, "packages"))
            installed: dict[str, JsonValue] = {**whole_object(packages, "installed"), key.removeprefix(_PACKAGE): value}
            document["packages"] = {**packages, "installed": installed}
        elif section in _SIMPLE and name:
            document[section] = {**whole_object(document, section), name: value}
        elif key == "containers.cdi_driver":
            document["containers"] = {**whole_object(document, "containers"), "cdi_driver": value}
        else:
            raise BadArgument(
                f"{key!r} cannot be set: name a package (packages.NAME), containers.cdi_driver, or a value of "
                f"{', '.join(_SIMPLE)}, such as driver.library."
            )
        unknown.pop(key, None)
    return Facts(facts.host, document, unknown)


def new_findings(facts: Facts, values: Mapping[str, str], data: Compatibility) -> Sequence[Finding]:
    """Return what would be found after the change and is not found now."""
    before = {(one.rule, one.keys, one.what) for one in findings(facts, data)}
    after = findings(changed(facts, values), data)
    return [one for one in after if (one.rule, one.keys, one.what) not in before]
