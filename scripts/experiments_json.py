# SPDX-License-Identifier: Apache-2.0
"""Write the JSON form of each experiment beside its YAML form: the YAML is what people edit."""

import json
import sys
from pathlib import Path

import yaml


def main() -> int:
    """Write every JSON file that is not as its YAML file says."""
    for source in sorted(Path(__file__).resolve().parent.parent.glob("experiments/level-*/*.yaml")):
        text = json.dumps(yaml.safe_load(source.read_text(encoding="utf-8")), indent=2, ensure_ascii=False) + "\n"
        target = source.with_suffix(".json")
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {target.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
