"""Read the logs that `keeper.CappedLog` writes, while they are written, and render them as a terminal would."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from experiments.runner.output.ansi import column_after, is_styled, moves_up, styled
from experiments.runner.safe_files import OutsideFolder, Root, list_names, open_regular, status_of

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\|$)?"  # OSC (titles, links) and other strings
    r"|\x1b[ -/]*+[0-~]"  # two-character ones
)
_ERASE_OR_ASIDE = re.compile(r"\x1b\[(?:[02]?K|\d{0,4}[CDG])")
_MOVES = re.compile(rf"[\r\b]|{_ERASE_OR_ASIDE.pattern}|[^\r\b\x1b]+")
MAX_DIGITS = 18  # of an offset
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the stream from `offset` on. A gap before them was dropped permanently."""

    offset: int
    data: bytes


class LogReader:
    """Follows the log of one process by its prefix. A reader returns each byte once. No link in the folder `below` is
    followed; by default, that is the log's own folder.
    """

    def __init__(self, prefix: Path, *, below: Root | None = None) -> None:
        self._folder, self._name = os.path.split(prefix)
        self.below = below or Path(self._folder)
        self.position = 0
        self.total = 0  # bytes written so far, as of the last call
        self.dropped = 0  # bytes that were dropped before this reader reached them

    def new(self, limit: int | None = None) -> list[Piece]:
        """Return the bytes logged since the last call, at most `limit`. Gaps are skipped."""
        pieces = []
        for start, path in self._segments():
            try:
                with open_regular(path, below=self.below) as file:
                    self.total = max(self.total, start + file.seek(0, 2))
                    if start > self.position:
                        self.dropped += start - self.position
                        self.position = start
                    file.seek(self.position - start)
                    data = file.read(-1 if limit is None else limit)
            except (OSError, OutsideFolder):
                continue  # dropped or replaced meanwhile: the next segment shows the gap
            if data:
                pieces.append(Piece(self.position, data))
                self.position += len(data)
            if limit is not None:
                limit -= len(data)
                if limit <= 0:
                    break
        return pieces

    def unread(self) -> int:
        """Return the number of unread bytes on disk."""
        size = 0
        for start, path in self._segments():
            try:
                left = status_of(path, below=self.below).st_size - max(0, self.position - start)
                size += max(0, left)  # the position may be in the gap after the segment
            except (OSError, OutsideFolder):
                continue  # dropped or replaced meanwhile
        return size

    def _segments(self) -> list[tuple[int, str]]:
        segments = []
        for name in self._listed():
            suffix = name.removeprefix(f"{self._name}.")
            if suffix == "head" or (suffix.isdecimal() and len(suffix) <= MAX_DIGITS):
                segments.append((0 if suffix == "head" else int(suffix), f"{self._folder}/{name}"))
        segments.sort()
        ends = [start for start, _ in segments[1:]] + [self.position + 1]
        return [segment for segment, end in zip(segments, ends, strict=False) if end > self.position]

    def _listed(self) -> list[str]:
        try:
            return list_names(self._folder, below=self.below)
        except (OSError, OutsideFolder):
            return []  # no log yet


def plain_text(text: bytes | str) -> str:
    """Return the text as a terminal would show it: carriage returns, backspaces and moves to earlier lines applied,
    other escapes removed.

    Invalid UTF-8 becomes U+FFFD. Linear time.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if not is_styled(text):
        return _UNSEEN.sub("", text)
    if moves_up(text):
        return "\n".join("".join(piece.text for piece in line) for line in styled(text))
    return "\n".join(_plain_line(line) for line in text.split("\n"))


def _plain_line(line: str) -> str:
    line = line.rstrip("\r")
    if "\x1b" in line:
        line = _ESCAPES.sub(lambda match: match[0] if _ERASE_OR_ASIDE.fullmatch(match[0]) else "", line)
    if "\r" in line or "\b" in line or "\x1b" in line:
        line = _overwrite(line)
    return _UNSEEN.sub("", line)


def _overwrite(line: str) -> str:
    cells: list[str] = []
    cursor = 0
    for move in _MOVES.findall(line):
        if move == "\r":
            cursor = 0
        elif move == "\b":
            cursor = max(0, cursor - 1)
        elif move[0] == "\x1b" and move[-1] != "K":
            cursor = column_after(move[2:-1], move[-1], column=cursor, length=len(cells))
        elif move[0] == "\x1b":
            # When a terminal erases a whole line, the cursor stays where it is. In practice a carriage return follows,
            # and moving the cursor to the start right away keeps this linear.
            cursor = 0 if move[2] == "2" else cursor
            del cells[cursor:]
        else:
            visible = _UNSEEN.sub("", move)
            cells += " " * (cursor - len(cells))
            cells[cursor : cursor + len(visible)] = visible
            cursor += len(visible)
    return "".join(cells)
