"""The list of what the console is made of."""

import json
import subprocess
import sys

from tests.repository_rules.repository import ROOT


def test_it_lists_what_the_lock_pins(tmp_path):
    """TD-Z5."""
    output = tmp_path / "sbom.json"
    subprocess.run([sys.executable, str(ROOT / "deploy" / "sbom.py"), "--output", str(output)], check=True)
    content = json.loads(output.read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.5")
    pins = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and line[0] != " "
    ]
    assert len(content["components"]) == len(pins) > 50
    django = next(component for component in content["components"] if component["name"] == "django")
    assert django["purl"] == f"pkg:pypi/django@{django['version']}"
    assert all(len(each["value"]) == 64 for each in django["properties"])
