"""The environment of the program that starts an experiment."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from tests.trialdeck.conftest import ROOT

SAY = "import json; from trialdeck import caller_environment as caller; print(json.dumps(caller.caller_environment()))"


def caller_of(python: str | Path, **env: str) -> dict[str, str]:
    import json

    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run([str(python), "-c", SAY], env=variables, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_trials_run_with_the_python_of_their_program(tmp_path):
    """TD-V5: a script that is started by the Python of an environment, active or not."""
    venv.create(tmp_path / "b", symlinks=True)
    python = tmp_path / "b" / "bin" / "python"
    expected = {"PATH": f"{tmp_path}/b/bin:/usr/bin:/bin", "VIRTUAL_ENV": str(tmp_path / "b")}
    assert caller_of(python) == expected
    assert caller_of(python, VIRTUAL_ENV="/a", CONDA_PREFIX="/conda") == expected
    active = {"PATH": "/mine:/usr/bin", "VIRTUAL_ENV": str(tmp_path / "b")}
    assert caller_of(python, **active) == active
    conda = {"PATH": "/conda/bin:/usr/bin", "CONDA_PREFIX": "/conda"}
    assert caller_of(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}", **conda) == conda
