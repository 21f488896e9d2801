"""A log's colours: lines as a terminal would leave them (see `log.plain`), in runs of one style."""

import re
from dataclasses import dataclass
from itertools import groupby

_TOKENS = re.compile(
    r"\x1b\[(?P<style>[\d;:]*)m"
    r"|(?P<erase>\x1b\[[02]?K)"
    r"|(?P<escape>\x1b\[[0-?]*+[ -/]*+[@-~]"  # the same as in log.py: shown as nothing
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\|$)?"
    r"|\x1b[ -/]*+[0-~]|\x1b)"
    r"|(?P<back>\x08)"
    r"|(?P<home>\r)"
    r"|(?P<text>[^\r\x08\x1b]+)"
)
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Style:
    """`ink` is one of a terminal's 16 colours, 0 to 15 (8 and above: the bright ones); None: the usual one."""

    ink: int | None = None
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one style, within a line."""

    text: str
    style: Style


PLAIN = Style()


def styled(text: bytes | str) -> list[list[Run]]:
    """The lines of a text as runs; joined they are what `log.plain` says. A style goes on until it is ended.

    Knows the 16 colours of text and bold; backgrounds and further colours are left out. Linear in the length.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    style, lines = PLAIN, []
    for line in text.split("\n"):
        if "\x1b" not in line and "\r" not in line and "\b" not in line:
            said = _UNSEEN.sub("", line)
            lines.append([Run(said, style)] if said else [])
            continue
        runs, style = _line(line.rstrip("\r"), style)
        lines.append(runs)
    return lines


def _line(line: str, style: Style) -> tuple[list[Run], Style]:
    """Its runs, and the style at its end."""
    cells: list[tuple[str, Style]] = []
    cursor = 0
    for token in _TOKENS.finditer(line):
        kind = token.lastgroup
        if kind == "style":
            style = _after(style, token["style"])
        elif kind == "home":
            cursor = 0
        elif kind == "back":
            cursor = max(0, cursor - 1)
        elif kind == "erase":
            cursor = 0 if token[0][2] == "2" else cursor  # as in log.py
            del cells[cursor:]
        elif kind == "text":
            said = _UNSEEN.sub("", token[0])
            cells[cursor : cursor + len(said)] = [(letter, style) for letter in said]
            cursor += len(said)
    runs = groupby(cells, key=lambda cell: cell[1])
    return [Run("".join(letter for letter, _ in run), one) for one, run in runs], style


def _after(style: Style, codes: str) -> Style:
    """The style after `ESC [ codes m`."""
    ink, is_bold = style.ink, style.is_bold
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes[:200])]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            ink, is_bold = None, False
        elif code == 1:
            is_bold = True
        elif code in (21, 22):
            is_bold = False
        elif 30 <= code <= 37:
            ink = code - 30
        elif 90 <= code <= 97:
            ink = code - 90 + 8
        elif code == 39:
            ink = None
        elif code in (38, 48):  # 5;number or 2;red;green;blue
            kind, rest = numbers[:1], numbers[1:]
            numbers = rest[3:] if kind == [2] else rest[1:]
            if code == 38:
                ink = rest[0] if kind == [5] and rest and rest[0] < 16 else None
    return Style(ink, is_bold)
