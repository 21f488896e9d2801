"""Colored logs: lines as a terminal would show them (see `log.plain_text`), as pieces of a single style."""

import re
from dataclasses import dataclass
from itertools import groupby

_TOKENS = re.compile(
    r"\x1b\[(?P<style>[\d;:]*)m"
    r"|(?P<erase>\x1b\[[02]?K)"
    r"|(?P<move>\x1b\[(?P<rows>\d{0,4})(?P<way>[ABEF]))"
    r"|(?P<aside>\x1b\[(?P<columns>\d{0,4})(?P<to>[CDG]))"
    r"|(?P<clear>\x1b\[0?J)"
    r"|(?P<escape>\x1b\[[0-?]*+[ -/]*+[@-~]"  # as in log.py: not shown
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\|$)?"
    r"|\x1b[ -/]*+[0-~]|\x1b)"
    r"|(?P<back>\x08)"
    r"|(?P<home>\r)"
    r"|(?P<text>[^\r\x08\x1b]+)"
)
_UP = re.compile(r"\x1b\[\d{0,4}[AF]")
# How far up a program can move the cursor: a terminal cannot change what has scrolled away.
_SCREEN_ROWS = 100
_MOST_COLUMNS = 1000  # how far right of the text a program can move the cursor
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Style:
    """`color` is one of a terminal's 16 colors, 0 to 15 (8 and above are bright); None is the default color."""

    color: int | None = None
    is_bold: bool = False


@dataclass(frozen=True, slots=True)
class StyledText:
    """A piece of a line with one style."""

    text: str
    style: Style


PLAIN = Style()


def styled(text: bytes | str) -> list[list[StyledText]]:
    """Return the lines of a text as styled pieces, which joined equal `log.plain_text`. A style lasts until it is
    reset.

    Supports the 16 text colors and bold; backgrounds and other colors are ignored. If a program moves the cursor up, as
    nested progress bars do, later lines replace earlier ones. Linear time.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if moves_up(text):
        return _screen(text)
    style = PLAIN
    lines: list[list[StyledText]] = []
    for line in text.split("\n"):
        if not is_styled(line):
            visible = _UNSEEN.sub("", line)
            lines.append([StyledText(visible, style)] if visible else [])
            continue
        pieces, style = _line(line.rstrip("\r"), style)
        lines.append(pieces)
    return lines


def column_after(columns: str, to: str, *, column: int, length: int) -> int:
    """Return the column of the cursor after `ESC [ columns to`: C is right, D is left, G is to the column. `length` is
    that of the line."""
    count = max(1, int(columns or 1))
    moved = {"C": column + count, "D": column - count, "G": count - 1}[to]
    return max(0, min(moved, max(length, _MOST_COLUMNS)))


def is_styled(text: str) -> bool:
    """Return whether the text has escapes, carriage returns or backspaces; most have not."""
    return "\x1b" in text or "\r" in text or "\b" in text


def moves_up(text: str) -> bool:
    """Return whether the text moves the cursor to earlier lines."""
    return _UP.search(text) is not None


def _screen(text: str) -> list[list[StyledText]]:
    """Return the lines of a text that moves the cursor between them."""
    style = PLAIN
    rows: list[list[tuple[str, Style]]] = [[]]
    row = column = 0
    for number, segment in enumerate(text.split("\n")):
        if number:
            row, column = row + 1, 0
            if row == len(rows):
                rows.append([])
        for token in _TOKENS.finditer(segment):
            cells, kind = rows[row], token.lastgroup
            if kind == "style":
                style = _after(style, token["style"])
            elif kind == "home":
                column = 0
            elif kind == "back":
                column = max(0, column - 1)
            elif kind == "erase":
                column = 0 if token[0][2] == "2" else column
                del cells[column:]
            elif kind == "clear":
                del cells[column:], rows[row + 1 :]
            elif kind == "move":
                count = max(1, int(token["rows"] or 1))
                if token["way"] in "AF":
                    row = max(row - count, len(rows) - _SCREEN_ROWS, 0)
                else:
                    row = min(row + count, len(rows) - 1)
                column = 0 if token["way"] in "EF" else column
            elif kind == "aside":
                column = column_after(token["columns"], token["to"], column=column, length=len(cells))
            elif kind == "text":
                visible = _UNSEEN.sub("", token[0])
                cells += [(" ", PLAIN)] * (column - len(cells))
                cells[column : column + len(visible)] = [(letter, style) for letter in visible]
                column += len(visible)
    return [_grouped(cells) for cells in rows]


def _grouped(cells: list[tuple[str, Style]]) -> list[StyledText]:
    groups = groupby(cells, key=lambda cell: cell[1])
    return [StyledText("".join(letter for letter, _ in group), cell_style) for cell_style, group in groups]


def _line(line: str, style: Style) -> tuple[list[StyledText], Style]:
    """Return the pieces of a line, and the style at its end."""
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
        elif kind == "aside":
            cursor = column_after(token["columns"], token["to"], column=cursor, length=len(cells))
        elif kind == "text":
            visible = _UNSEEN.sub("", token[0])
            cells += [(" ", PLAIN)] * (cursor - len(cells))
            cells[cursor : cursor + len(visible)] = [(letter, style) for letter in visible]
            cursor += len(visible)
    return _grouped(cells), style


def _after(style: Style, codes: str) -> Style:
    """Return the style after `ESC [ codes m`."""
    color, is_bold = style.color, style.is_bold
    numbers = [int(code) if code else 0 for code in re.split("[;:]", codes[:200])]
    while numbers:
        code = numbers.pop(0)
        if code == 0:
            color, is_bold = None, False
        elif code == 1:
            is_bold = True
        elif code in (21, 22):
            is_bold = False
        elif 30 <= code <= 37:
            color = code - 30
        elif 90 <= code <= 97:
            color = code - 90 + 8
        elif code == 39:
            color = None
        elif code in (38, 48):  # 5;number or 2;red;green;blue
            kind, color_arguments = numbers[:1], numbers[1:]
            numbers = color_arguments[3:] if kind == [2] else color_arguments[1:]
            if code == 38:
                color = (
                    color_arguments[0]
                    if kind == [5] and color_arguments and color_arguments[0] < 16
                    else None
                )
    return Style(color, is_bold)
