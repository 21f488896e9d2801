"""Imports only go down, and what must stand alone stands alone. The contracts are in pyproject.toml."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository_rules.repository import ROOT, files, name_of

USERS_PACKAGE = [path for path in files(".py") if name_of(path).startswith("trialdeck/")]
NEWER_THAN_3_8 = {"removeprefix", "removesuffix", "cache", "pairwise", "TypeAlias", "Self", "batched"}


def test_imports_keep_the_contracts() -> None:
    """Imports only ever go down; only three files of search/engine import Optuna."""
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", USERS_PACKAGE, ids=name_of)
def test_the_users_package_imports_the_standard_library_only(path: Path) -> None:
    """Trialdeck is standard library only, never Django."""
    tree = ast.parse(path.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports are easier to follow"
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names <= {"trialdeck"}


@pytest.mark.parametrize("path", USERS_PACKAGE, ids=name_of)
def test_the_users_package_runs_on_python_3_8(path: Path) -> None:
    """Its syntax, no names that came later, and no `list[int]` outside of annotations, which wait."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    futures = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    has_annotations = any(isinstance(n, ast.AnnAssign | ast.arg) and n.annotation for n in ast.walk(tree))
    assert futures or not has_annotations, (
        "annotations must not be evaluated: from __future__ import annotations"
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant("")
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Attribute) or node.attr not in NEWER_THAN_3_8, node.attr
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in ("list", "dict", "tuple", "set", "type"), f"line {node.lineno}"
