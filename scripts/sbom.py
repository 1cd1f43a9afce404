"""Write the bill of materials of what we ship, as CycloneDX JSON, offline.

    python scripts/sbom.py build/sbom.json

cyclonedx-py reads the lock file. This script adds what the lock file does not say: the root component, and the
licences (from the metadata of installed packages). It removes what only repeats the lock file.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-all.lock"


def bill(lock: Path) -> dict[str, Any]:
    """Run cyclonedx-py on a lock file.

    :raise subprocess.CalledProcessError: it cannot read the file.
    """
    command = Path(sys.executable).with_name("cyclonedx-py")
    options = ["--output-reproducible", "--of", "JSON", "--sv", "1.6"]
    made = subprocess.run([command, "requirements", *options, lock], stdout=subprocess.PIPE, check=True)
    return dict(json.loads(made.stdout))


def licence(package: str) -> list[dict[str, Any]]:
    """Licence of an installed package from its own metadata, in CycloneDX's form; empty if unknown."""
    try:
        told = metadata(package)
    except PackageNotFoundError:
        return []
    if "License-Expression" in told:
        return [{"expression": told["License-Expression"]}]
    named = [
        line.rpartition(" :: ")[2]
        for line in told.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    return [{"license": {"name": name}} for name in named]


def completed(made: dict[str, Any], version: str) -> dict[str, Any]:
    """The bill with its root component and licences.

    :param version: version of hospproxy.
    """
    root = {"type": "application", "bom-ref": "hospproxy", "name": "hospproxy", "version": version}
    made["metadata"]["component"] = {**root, "licenses": [{"license": {"id": "MIT"}}]}
    for part in made["components"]:
        part.pop("description", None)
        for reference in part.get("externalReferences", ()):
            # Each installation chooses its own index; only the hashes are facts.
            reference["url"] = f"requirements-all.lock#{part['name']}"
        part["licenses"] = licence(part["name"])
    parts = [part["bom-ref"] for part in made["components"]]
    made["dependencies"] = [{"ref": "hospproxy", "dependsOn": parts}, *({"ref": one} for one in parts)]
    return made


def main() -> None:
    """Write the bill to the file that the first argument names."""
    packaged = configparser.ConfigParser(interpolation=None)
    packaged.read(ROOT / "setup.cfg")
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    made = completed(bill(LOCK), packaged["metadata"]["version"])
    text = json.dumps(made, indent=1) + "\n"
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"✗ not as CycloneDX's schema says: {wrong}")
    target.write_text(text)
    print(f"» {target}: {len(made['components'])} parts")


if __name__ == "__main__":
    main()
