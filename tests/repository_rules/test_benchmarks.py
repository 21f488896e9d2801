"""Every benchmark prints lines for programs, too, and the documentation names it."""

import ast
import json
import subprocess
import sys

import pytest

from tests.repository_rules.repository import ROOT

PROGRAMS = sorted(
    path
    for path in (ROOT / "benchmarks").glob("*.py")
    if '__name__ == "__main__"' in path.read_text() and path.stem != "peer_programs"  # a part of peers
)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_benchmark_prints_json(path):
    """TD-X7: figures can be compared by a program."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    options = {
        argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)
    }
    assert "--json" in options


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_every_benchmark_is_documented(path):
    pages = [(ROOT / "docs" / name).read_text() for name in ("benchmarks.md", "performance.md")]
    assert any(f"benchmarks.{path.stem}" in page for page in pages)


def test_lines_of_json_can_be_read():
    words = [sys.executable, "-m", "benchmarks.imports", "--times", "1", "--json"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["script"] for line in lines][:2] == ["pass", "import trialdeck"]
    assert lines[0]["more_ms"] == 0
