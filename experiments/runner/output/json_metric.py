"""Read metrics from a JSON or JSON Lines file that a trial writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.runner.dialects.reader import number_or_text
from experiments.runner.output.number_text import parse_number
from experiments.runner.report import Report
from experiments.runner.safe_files import NotRegular, OutsideFolder, Root, open_regular, status_of

MAX_FILE = 16 << 20
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_SUBSCRIPT = re.compile(r"\[(?:(-?\d+)|'([^']*)'|\"([^\"]*)\")\]")
_MISSING = object()


class NoMetric(ValueError):
    """The metric is missing or invalid. `str()` is a message for users. `is_bad`: it exists, but is not a number."""

    def __init__(self, message: str, *, is_bad: bool = False) -> None:
        super().__init__(message)
        self.is_bad = is_bad


@dataclass(frozen=True)
class Version:
    """The state of a file on disk, which changes with every write and when another file replaces it."""

    device: int
    inode: int
    size: int
    changed_ns: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path, *, below: Root | None = None) -> Version | None:
        """Return the version of the file, or None when it does not exist. No link below the folder `below` (None: the
        file's own) is followed."""
        try:
            status = status_of(path, below=below or path.parent)
        except (OSError, OutsideFolder):
            return None
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)

    def is_written_since(self, before: Version | None) -> bool:
        """Return whether the file was written since `before`; changes of its mode, owner or links do not count."""
        same = ("device", "inode", "size", "modified_ns")
        return before is None or any(getattr(self, name) != getattr(before, name) for name in same)


def expand_path(text: str, names: Mapping[str, object], env: Mapping[str, str]) -> str:
    """Return the path with `${placeholder}` and `$VARIABLE` replaced. Raise NoMetric for an unknown one."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if match[1] and name in names:
            return str(names[name])
        if name in env:
            return env[name]
        raise NoMetric(f"${name} in the path {text} is not set in the trial's environment.")

    return _VARIABLE.sub(replaced, text)


def check_path(text: str, names: set[str]) -> str | None:
    """Return what is wrong with the placeholders of a path, or None. Variables are looked up when a trial starts."""
    for match in _VARIABLE.finditer(text):
        name = match[1]
        if name and name not in names and name != name.upper():
            available = ", ".join(f"${{{each}}}" for each in sorted(names)[:8])
            return f"${{{name}}} is not a placeholder. Available: {available}."
    return None


def read_json_metric(path: Path, name: str, *, below: Root | None = None) -> Report:
    """Return the final result `name` in a JSON file. Raise NoMetric.

    `name` is a key, or a path of keys and list indices: `val.accuracy`, `test.f1.macro` (a key may contain dots),
    `folds.0.acc`, `folds[-1].acc`. In JSON Lines, the last line with the name counts. No link below the folder `below`
    (None: the file's own) is followed.
    """
    content, is_lines = _content(path, below or path.parent)
    value = _MISSING
    if is_lines:
        value = next(
            (last for line in reversed(content) if (last := _find(line, name)) is not _MISSING), _MISSING
        )
    if value is _MISSING:
        value = _find(content, name)
    if value is _MISSING:
        raise NoMetric(f"{path.name} has no key {name}{_available(content, is_lines)}.")
    return Report(name, 0, *_number(path, name, value), final=True)


def _content(path: Path, below: Root) -> tuple[Any, bool]:
    """Return the parsed file, and whether it is a list of parsed lines."""
    try:
        with open_regular(path, below=below) as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                raise NoMetric(f"{path.name} must be a regular file of at most {MAX_FILE >> 20} MiB.")
            content = file.read(MAX_FILE + 1)
            text = content.decode(json.detect_encoding(content))
    except OutsideFolder as error:
        raise NoMetric(f"{path.name} cannot be read: {error}") from None
    except NotRegular:
        raise NoMetric(f"{path.name} must be a regular file of at most {MAX_FILE >> 20} MiB.") from None
    except FileNotFoundError:
        raise NoMetric(f"The trial did not write the file {path.name}.") from None
    except OSError as error:
        raise NoMetric(f"{path.name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise NoMetric(f"{path.name} is not JSON: {error}.") from None
    if not text.strip():
        raise NoMetric(f"{path.name} is empty.")
    try:
        return _parsed(text), False
    except (ValueError, RecursionError) as error:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        parsed: list[object] = []
        for number, line in lines:
            try:
                parsed.append(_parsed(line))
            except (ValueError, RecursionError):
                if not parsed or not isinstance(parsed[0], dict | list):
                    raise NoMetric(f"{path.name} is not JSON: {error}.") from None
                raise NoMetric(f"Line {number} of {path.name} is not JSON: {line[:60]}") from None
    return parsed, True


def _parsed(text: str) -> Any:
    # Python refuses to convert so many digits to an int.
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 400 else float(digits))


def _find(content: object, name: str) -> object:
    """Return the value at this path of keys and indices, or `_MISSING`. Longer keys are tried first, because a key may
    contain dots."""
    if isinstance(content, dict) and name in content:
        return content[name]
    keys: list[str] = []
    for part in re.split(r"\.", _SUBSCRIPT.sub(lambda m: "\0" + (m[1] or m[2] or m[3] or "") + "\0", name)):
        pieces = part.split("\0")
        keys += [piece for piece in pieces if piece] if len(pieces) > 1 else pieces
    return _walk(content, keys)


def _walk(content: object, keys: list[str]) -> object:
    if not keys:
        return content
    if isinstance(content, list):
        if not re.fullmatch(r"-?\d{1,9}", keys[0]) or not -len(content) <= int(keys[0]) < len(content):
            return _MISSING
        return _walk(content[int(keys[0])], keys[1:])
    if not isinstance(content, dict):
        return _MISSING
    for count in range(len(keys), 0, -1):
        key = ".".join(keys[:count])
        if key in content and (value := _walk(content[key], keys[count:])) is not _MISSING:
            return value
    return _MISSING


def _available(content: object, is_lines: bool) -> str:
    where = content[-1] if is_lines and isinstance(content, list) else content
    kind = "its last line" if is_lines else "the file"
    if isinstance(where, dict) and where:
        keys = ", ".join(str(key)[:40] for key in list(where)[:6]) + (", …" if len(where) > 6 else "")
        return f"; {kind} has {keys}"
    if isinstance(where, list):
        count = "1 item" if len(where) == 1 else f"{len(where)} items"
        return f"; {kind} is a list of {count}; start the path with an index (0., 1., … or -1. for the last)"
    return ""


def _number(path: Path, name: str, value: object) -> tuple[float | None, str]:
    """Return the number and "", or None and the text for nan and inf. A string that holds a number counts as one. Raise
    NoMetric."""
    if isinstance(value, str):
        number = parse_number(value)
        if number is None:
            raise NoMetric(f"{name} in {path.name} is the text {value[:60]!r}, not a number.", is_bad=True)
        return number_or_text(number)
    if isinstance(value, list):
        hint = f" Name one of its items: {name}.-1 is the last." if value else ""
        raise NoMetric(f"{name} in {path.name} is a list of {len(value)}, not a number.{hint}", is_bad=True)
    if isinstance(value, dict):
        keys = ", ".join(f"{name}.{str(key)[:40]}" for key in list(value)[:4])
        hint = f" Name one of its values: {keys}." if value else ""
        raise NoMetric(f"{name} in {path.name} is an object, not a number.{hint}", is_bad=True)
    if value is None or isinstance(value, bool):
        raise NoMetric(f"{name} in {path.name} is {json.dumps(value)}, not a number.", is_bad=True)
    return number_or_text(value)
