"""The environment of the program that starts an experiment: its trials on this machine run with the same Python."""

from __future__ import annotations  # for Python 3.8

import os
import sys

VARIABLES = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX")


def caller_environment() -> dict[str, str]:
    """Return PATH, VIRTUAL_ENV and CONDA_PREFIX of this program, as if the environment of its Python were active."""
    env = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if sys.prefix != sys.base_prefix and env.get("VIRTUAL_ENV") != sys.prefix:
        folder = os.path.join(sys.prefix, "Scripts" if os.name == "nt" else "bin")  # noqa: PTH118
        env.pop("CONDA_PREFIX", None)
        env["VIRTUAL_ENV"] = sys.prefix
        env["PATH"] = os.pathsep.join([folder, *filter(None, [env.get("PATH")])])
    return env
