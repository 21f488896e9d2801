"""Write a software bill of materials (CycloneDX 1.5, JSON) of what a lock file pins: `python deploy/sbom.py`.

The lock has every package with its version and the hashes of its files; nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VERSION = re.compile(r'__version__ = "([^"]+)"')


def components(lock: str) -> list[dict[str, Any]]:
    """Return a component for each pinned package, in the order of the lock. A package has the hashes of all its files:
    which of them is installed depends on the machine."""
    packages: list[dict[str, Any]] = []
    for line in lock.splitlines():
        if pin := PIN.match(line):
            name, version = re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2]
            purl = f"pkg:pypi/{name}@{version}"
            packages.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": name,
                    "version": version,
                    "purl": purl,
                    "properties": [],
                }
            )
        elif packages and (hashed := HASH.search(line)):
            packages[-1]["properties"].append({"name": "trialdeck:sha256", "value": hashed[1]})
    return packages


def document(lock: str, *, version: str) -> dict[str, Any]:
    """Return the whole document. The same lock gives the same document."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "trialdeck-console",
                "name": "trialdeck-console",
                "version": version,
                "purl": f"pkg:pypi/trialdeck-console@{version}",
            }
        },
        "components": components(lock),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--output", type=Path, default=ROOT / "sbom.json")
    arguments = parser.parse_args()
    version = VERSION.search((ROOT / "trialdeck" / "__init__.py").read_text("utf-8"))
    if version is None:
        raise SystemExit("trialdeck/__init__.py has no __version__.")
    content = document(arguments.lock.read_text("utf-8"), version=version[1])
    arguments.output.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"{arguments.output}: {len(content['components'])} packages")


if __name__ == "__main__":
    main()
