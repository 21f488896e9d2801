"""Which Python interpreters could run a script, and which of its imports each of them lacks."""

from __future__ import annotations  # for Python 3.8

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trialdeck.script.model import ImportedModule

TIMEOUT_S = 20.0
VENVS = (".venv", "venv", "env")
PROVIDED = ("trialdeck",)  # by the worker
# Prints one line of JSON. `find_spec` of a name without dots imports nothing.
_PROGRAM = """
import importlib.util, json, sys
missing = []
for name in sys.argv[1:]:
    try:
        is_missing = name not in sys.modules and importlib.util.find_spec(name) is None
    except Exception:  # a finder of that environment failed, in whatever way: the import itself will say how
        is_missing = False
    if is_missing:
        missing.append(name)
print("trialdeck:" + json.dumps({"version": sys.version.split()[0], "missing": missing}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter: its path, its version, and the imports that it lacks. `problem` says why it cannot be used,
    or is empty."""

    path: str
    version: str = ""
    missing: tuple[ImportedModule, ...] = ()
    problem: str = ""

    @property
    def is_complete(self) -> bool:
        return not self.problem and not self.missing

    @property
    def fault(self) -> str:
        """What prevents the script from running, in Python's own words; "" if nothing does."""
        if self.problem:
            return self.problem
        return "; ".join(f"No module named {module.name!r} in {self.path}" for module in self.missing)


def candidates(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Return the interpreters that could run a script in this folder, the most likely first: of an environment in the
    folder or above it, then of the PATH in `env`."""
    paths = []
    for place in [folder, *folder.parents][:4]:
        paths += [str(place / venv / "bin" / "python") for venv in VENVS]
    paths = [path for path in paths if os.access(path, os.X_OK)]
    for name in ("python", "python3"):
        if path := shutil.which(name, path=env.get("PATH")):
            paths.append(path)
    return list(dict.fromkeys(paths))


def check(
    python: str,
    modules: Sequence[ImportedModule],
    *,
    folder: Path,
    env: Mapping[str, str],
    prefix: Sequence[str] = (),
) -> Interpreter:
    """Ask an interpreter which modules it lacks. `folder`: the script's folder, whose modules are not missing.
    `prefix`: the beginning of the command line that runs the interpreter, for example as another user."""
    path = shutil.which(python, path=env.get("PATH")) if "/" not in python else python
    if path is None or not os.access(folder / path, os.X_OK):
        return Interpreter(python, problem=f"There is no Python interpreter {python}.")
    path = str(folder / path)
    names = [module.name for module in modules if module.name not in PROVIDED]
    try:
        process = subprocess.run(
            [*prefix, path, "-c", _PROGRAM, *names],
            cwd=str(folder),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Interpreter(path, problem=f"{path} did not respond within {TIMEOUT_S:.0f} s.")
    except OSError as error:
        return Interpreter(path, problem=f"{path} cannot be run: {error.strerror}.")
    line = next((line for line in process.stdout.splitlines() if line.startswith(b"trialdeck:")), b"")
    try:
        answer = json.loads(line[len(b"trialdeck:") :])
        missing = set(answer["missing"])
        version = str(answer["version"])
    except (ValueError, KeyError, TypeError):
        lines = process.stderr.decode("utf-8", "replace").strip().splitlines()
        return Interpreter(path, problem=f"{path} cannot be used: {lines[-1] if lines else 'no output'}.")
    return Interpreter(path, version, tuple(module for module in modules if module.name in missing))
