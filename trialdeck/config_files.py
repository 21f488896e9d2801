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
    """Return the directory as an absolute path. The worker resolves a leading ~."""
    if directory is None or str(directory).startswith(("/", "~")):
        return None if directory is None else str(directory)
    path = (base / str(directory)).absolute()
    return str(path.resolve()) if path.exists() else str(path)


def read_document(path: Path) -> dict[str, Any]:
    """Return the content of a JSON or YAML file that holds one object. Raise Invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise errors.Invalid(f"{path} cannot be read: {reason}.") from None
    try:
        document = json.loads(text)
    except ValueError as error:
        if path.suffix not in (".yml", ".yaml"):
            raise errors.Invalid(f"{path} is not valid JSON: {error}.") from None
        document = _yaml(text, path)
    if not isinstance(document, dict):
        raise errors.Invalid(f"{path} must contain one object that maps names to values.")
    return document


def _yaml(text: str, path: Path) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise errors.Invalid(
            f"{path} is YAML, which needs PyYAML. Run `pip install pyyaml`, or write the file as JSON."
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise errors.Invalid(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
