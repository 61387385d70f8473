# SPDX-License-Identifier: Apache-2.0
"""What dnf 4.14 takes for the excludes of a dnf.conf, form by form; None where it takes the file for none."""

__all__ = ["FORMS", "TAKEN"]

FORMS: dict[str, list[str] | None] = {
    "": [],
    "[main]\nexclude=nvidia*,cuda* kernel\n": ["nvidia*", "cuda*", "kernel"],
    "[main]\nexclude=a,,b\n": ["a", "b"],
    "[main]\nexclude=a\n  b\n\tc\n": ["a", "b", "c"],
    "[main]\nexclude=\n  b\n c # x\n": ["b", "c", "#", "x"],
    "[main]\nexclude=a\nexcludepkgs=b\n": ["a", "b"],
    "[main]\nexclude=a\nexclude=b\n": ["b"],
    "[main]\nexclude=a\nexclude=\n": [],
    "[main]\nexclude=a\nexcludepkgs=\n": [],
    "[main]\nexclude=\nexcludepkgs=b\n": ["b"],
    "[main]\nexcludepkgs=b\nexclude=,c\n": ["c"],
    "[main]\nexclude= ,\n": [],
    "[main]\nexclude=None\n": [],
    "[other]\nexclude=q\n[main]\nexclude=a\n[main]\nexcludepkgs=b\n": ["a", "b"],
    "[main]\nEXCLUDE=a\n": [],
    "[main] # x\nexclude = a\n": ["a"],
    "  [main]\nexclude=a": ["a"],
    "# no section yet\n\n[main]\n;exclude=a\nexclude=b\n": ["b"],
    "[main]\r\nexclude=a b\r\n": ["a", "b"],
    "exclude=a\n": None,
    "[main]\nexclude: a\n": None,
    "[main]\nexclude\n": None,
    "[main]\n=a\n": None,
    "[main\nexclude=a\n": None,
    "[main]\nexclude=a\n[]\n": None,
    "[main]\n exclude=a\n": None,
    "[main]\nexclude=a\n\n  b\n": None,
    "[main]\nexclude=a\n# c\n  b\n": None,
}

# Run by dnf's own Python: forms in, what dnf takes each for out.
TAKEN = """
import json, sys, dnf
found = []
for text in json.load(sys.stdin):
    with open("/run/dnf-form", "w", newline="") as file:
        file.write(text)
    conf = dnf.conf.MainConf()
    try:
        conf.read("/run/dnf-form")
        found.append(list(conf.excludepkgs))
    except dnf.exceptions.ConfigError:
        found.append(None)
json.dump(found, sys.stdout)
"""
