"""Reading what `keeper.CappedLog` wrote, while it is written, and showing it as a terminal would."""

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*+[ -/]*+[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*+(?:\x07|\x1b\\|$)?"  # OSC (titles, links) and other strings
    r"|\x1b[ -/]*+[0-~]"  # two-character ones
)
_ERASE = re.compile(r"\x1b\[[02]?K")
_MOVES = re.compile(r"[\r\b]|\x1b\[[02]?K|[^\r\b\x1b]+")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the stream; `offset` is that of the first one. A gap before it was dropped for good."""

    offset: int
    data: bytes


class LogReader:
    """Follows one process's log by its prefix. One reader reads each byte once."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = Path(prefix)
        self.position = 0
        self.total = 0  # bytes written so far, as of the last look
        self.dropped = 0  # bytes that were gone before this reader came to them

    def new(self, limit: int | None = None) -> list[Piece]:
        """What was logged since the last call, at most `limit` bytes of it. Gaps are skipped."""
        pieces = []
        for start, path in self._segments():
            try:
                with path.open("rb") as file:
                    self.total = max(self.total, start + file.seek(0, 2))
                    if start > self.position:
                        self.dropped += start - self.position
                        self.position = start
                    file.seek(self.position - start)
                    data = file.read(-1 if limit is None else limit)
            except OSError:
                continue  # dropped between the look and the reading: the next segment tells the gap
            if data:
                pieces.append(Piece(self.position, data))
                self.position += len(data)
            if limit is not None:
                limit -= len(data)
                if limit <= 0:
                    break
        return pieces

    def _segments(self) -> list[tuple[int, Path]]:
        found = []
        for path in self.prefix.parent.iterdir() if self.prefix.parent.is_dir() else ():
            suffix = path.name.removeprefix(self.prefix.name + ".")
            if suffix == "head" or suffix.isdecimal():
                found.append((0 if suffix == "head" else int(suffix), path))
        found.sort()
        ends = [start for start, _ in found[1:]] + [self.position + 1]
        return [each for each, end in zip(found, ends, strict=False) if end > self.position]


def plain(text: bytes | str) -> str:
    """The text as a terminal would leave it: carriage returns and backspaces done, escapes and controls gone.

    Invalid UTF-8 becomes U+FFFD. Takes time linear in the length.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return "\n".join(_plain_line(line) for line in text.split("\n"))


def _plain_line(line: str) -> str:
    line = line.rstrip("\r")
    if "\x1b" in line:
        line = _ESCAPES.sub(lambda found: found[0] if _ERASE.fullmatch(found[0]) else "", line)
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
        elif move[0] == "\x1b":
            # A terminal leaves the cursor where it is when it erases a whole line; in practice a carriage
            # return stands next to it, and to begin anew here keeps this linear.
            cursor = 0 if move[2] == "2" else cursor
            del cells[cursor:]
        else:
            visible = _UNSEEN.sub("", move)
            cells[cursor : cursor + len(visible)] = visible
            cursor += len(visible)
    return "".join(cells)
