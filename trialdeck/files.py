"""Files and folders that a configuration names."""

from __future__ import annotations  # for Python 3.8

import importlib
import json
from pathlib import Path

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def absolute(directory: Any, base: Path) -> str | None:
    """The directory as a whole path; one that begins with ~ is the worker's to look up."""
    if directory is None or str(directory).startswith(("/", "~")):
        return None if directory is None else str(directory)
    path = (base / str(directory)).absolute()
    return str(path.resolve()) if path.exists() else str(path)


def read_document(path: Path) -> dict[str, Any]:
    """A JSON or YAML file that holds one object. Raises Invalid with one sentence."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise errors.Invalid(f"{path} cannot be read: {said}.") from None
    try:
        document = json.loads(text)
    except ValueError as error:
        if path.suffix not in (".yml", ".yaml"):
            raise errors.Invalid(f"{path} is not JSON: {error}.") from None
        document = _yaml(text, path)
    if not isinstance(document, dict):
        raise errors.Invalid(f"{path} must hold one object: names with values.")
    return document


def _yaml(text: str, path: Path) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        said = "is YAML, which needs PyYAML: pip install pyyaml, or write the file as JSON"
        raise errors.Invalid(f"{path} {said}.") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise errors.Invalid(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
