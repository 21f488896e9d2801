"""Builds the distribution `trialdeck` (PEP 517) out of this folder, with nothing but the standard library."""

from __future__ import annotations  # for Python 3.8

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OWN = "packing.py"  # is not installed
SUMMARY = "Tuning experiments from Python: start, steer and read them on a Trialdeck console."
WHEEL = "Wheel-Version: 1.0\nGenerator: trialdeck\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
SCRIPTS = "[console_scripts]\ntrialdeck = trialdeck.cli:main\n"


def version() -> str:
    return re.search(r'^__version__ = "(.+)"$', (HERE / "__init__.py").read_text("utf-8"), re.M)[1]


def metadata() -> str:
    head = {
        "Metadata-Version": "2.1",
        "Name": "trialdeck",
        "Version": version(),
        "Summary": SUMMARY,
        "License": "MIT",
        "Requires-Python": ">=3.8",
        "Provides-Extra": "yaml",
        "Requires-Dist": 'pyyaml; extra == "yaml"',
        "Classifier": "Typing :: Typed",
        "Description-Content-Type": "text/markdown",
    }
    lines = [f"{name}: {value}" for name, value in head.items()]
    return "\n".join(lines) + "\n\n" + (HERE / "README.md").read_text("utf-8")


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """The wheel's file name. The same sources give the same bytes."""
    name = f"trialdeck-{version()}"
    info = f"{name}.dist-info"
    files = {f"trialdeck/{path.name}": path.read_bytes() for path in _modules() if path.name != OWN}
    files[f"{info}/METADATA"] = metadata().encode()
    files[f"{info}/WHEEL"] = WHEEL.encode()
    files[f"{info}/entry_points.txt"] = SCRIPTS.encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    path = Path(wheel_directory) / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for inside, data in files.items():
            entry = zipfile.ZipInfo(inside, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return path.name


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    name = f"trialdeck-{version()}"
    files = {path.name: path.read_bytes() for path in _modules()}
    files.update((other, (HERE / other).read_bytes()) for other in ("pyproject.toml", "README.md"))
    files["PKG-INFO"] = metadata().encode()
    path = Path(sdist_directory) / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inside, data in sorted(files.items()):
            entry = tarfile.TarInfo(f"{name}/{inside}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path.name


def _modules() -> list[Path]:
    return [*sorted(HERE.glob("*.py")), HERE / "py.typed"]


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
