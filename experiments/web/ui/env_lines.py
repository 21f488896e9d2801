"""Lines of a .env file: `NAME=value`, `export NAME="a value"`, comments."""

import re

_LINE = re.compile(r"\s*(?:export\s+)?([^\s=]+)\s*=[ \t]*(.*)", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', re.DOTALL)
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_PLAIN = re.compile(r"(?!['\"])[^\s#][^\n\r\t]*(?<!\s)|", re.DOTALL)


def parse(line: str) -> tuple[str, str] | None:
    """Return (name, value) of a line, or None for a blank line or a comment. Raise ValueError with a message for users.
    A quoted value ends with its quote, an unquoted one before ` #`. Backslash escapes apply in double quotes only.
    """
    if not line.strip() or line.lstrip().startswith("#"):
        return None
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError("enter NAME=VALUE.")
    name, text = match[1], match[2]
    if text.startswith('"') or text.startswith("'"):
        quoted = (_DOUBLE if text[0] == '"' else _SINGLE).fullmatch(text)
        if not quoted:
            raise ValueError(f"{name[:64]}: close the quote, with nothing but a comment after it.")
        return name, _unescaped(quoted[1]) if text[0] == '"' else quoted[1]
    return name, re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def written(name: str, value: str) -> str:
    """Return a line that `parse` reads as this name and value."""
    if _PLAIN.fullmatch(value) and not re.search(r"\s#", value):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    for letter, char in _ESCAPES.items():
        escaped = escaped.replace(char, f"\\{letter}")
    return f'{name}="{escaped}"'


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)
