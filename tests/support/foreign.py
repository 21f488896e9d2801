"""Other people's packages, for real: each in an environment of its own, built once per machine."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).resolve().parents[1] / "foreign"


def python_with(name: str) -> Path:
    """The interpreter of an environment with what tests/foreign/<name>.lock lists, in the user's cache."""
    lock = LOCKS / f"{name}.lock"
    stamp = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trialdeck-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{stamp}"
    with (cache / f"{name}.building").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests run side by side
        if not (folder / "whole").exists():
            for old in cache.glob(f"{name}-*"):
                shutil.rmtree(old)
            _build(folder, lock)
            (folder / "whole").touch()
    return folder / "bin" / "python"


def _build(folder: Path, lock: Path) -> None:
    python, uv = folder / "bin" / "python", shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        steps = [
            [uv, "venv", "-q", "--python", sys.executable, folder],
            [
                uv,
                "pip",
                "install",
                "-q",
                "--compile-bytecode",
                "--python",
                python,
                "--require-hashes",
                "-r",
                lock,
            ],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", folder],
            [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        assert done.returncode == 0, f"{step} failed:\n{done.stderr[-3000:]}"
