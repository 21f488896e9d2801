"""The log of a trial: a window, a search, or all of it."""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from experiments.models import LogPiece, Trial
from experiments.models.trial.log import PIECE_BYTES
from experiments.runner.output.ansi import PLAIN, StyledText, is_styled, styled
from experiments.runner.output.log import plain_text

LONGEST_QUERY = 200
MAX_MATCHES = 10_000  # lines; if there are more, the last ones count
LONGEST_LINE = 1024 * 1024  # bytes; a longer line counts as several
AFTER_BYTES = 16 * 1024  # shown after a matching line


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a log: its bytes from `start` to `stop`, and the number of bytes missing just before them.

    `earlier` is the end of the window before this one; None at the beginning of the log.
    """

    data: bytes
    start: int
    stop: int
    total: int
    missing: int
    earlier: int | None
    search: Search | None = None

    @property
    def text(self) -> str:
        return plain_text(self.data)

    @property
    def html(self) -> SafeString:
        """The text with its terminal colors, and with marks around the matches of the search."""
        pattern = self.search.pattern if self.search else None
        current_line = self.search.line_in(self) if self.search else None
        if pattern is None and not is_styled(text := self.data.decode("utf-8", "replace")):
            return SafeString(html.escape(plain_text(text)))  # all lines at once
        lines = (
            _line(runs, pattern, is_here=number == current_line)
            for number, runs in enumerate(styled(self.data))
        )
        return mark_safe("\n".join(lines))  # noqa: S308 (each part is escaped where it is made)

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def is_end(self) -> bool:
        return self.stop >= self.total


def window(trial: Trial, *, until: int | None = None, size: int = PIECE_BYTES) -> Window:
    """Return the last `size` bytes before `until` (None: the end of the log), beginning with a whole line if possible.

    A window does not span a gap of bytes that were not kept: it begins after the gap, and `missing` is its size.
    """
    data, start, stop = b"", None, 0
    pieces = LogPiece.objects.filter(trial=trial).order_by("-offset")
    if until is not None:
        pieces = pieces.filter(offset__lt=until)
    missing, before = 0, 0
    for piece in pieces[:8]:
        own = bytes(piece.data) if until is None else bytes(piece.data)[: max(0, until - piece.offset)]
        end = piece.offset + len(own)
        if start is None:
            stop = end
        elif end < start:
            missing, before = start - end, end
            break
        data, start = own + data, piece.offset
        if len(data) >= size:
            break
    if start is None:
        return Window(b"", 0, 0, trial.log_bytes, 0, None)
    if len(data) > size:
        data, start, missing = data[-size:], stop - size, 0
        line = data.find(b"\n") + 1
        if 0 < line < len(data):
            data, start = data[line:], start + line
    elif start and not missing and before == 0:
        missing, before = _missing_before(trial, start)
    earlier = before if missing else start
    return Window(data, start, stop, trial.log_bytes, missing, earlier or None)


def _missing_before(trial: Trial, start: int) -> tuple[int, int]:
    last = LogPiece.objects.filter(trial=trial, offset__lt=start).order_by("-offset").first()
    end = last.offset + last.size if last else 0
    return start - end, end


def all_bytes(trial: Trial) -> Iterator[bytes]:
    """Yield all bytes that were kept; a line marks each gap with the number of missing bytes."""
    at = 0
    for piece in LogPiece.objects.filter(trial=trial).order_by("offset").iterator(chunk_size=8):
        if piece.offset > at:
            yield f"\n[... {piece.offset - at:,} bytes were not kept ...]\n".encode()
        yield bytes(piece.data)
        at = piece.offset + len(piece.data)


# --- search ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Search:
    """The lines of a log that contain a text, ignoring case; line `at` (from 1) of `total` is shown.

    `line` is where this line begins and ends in the log, None without a match.
    """

    query: str
    at: int
    total: int
    line: tuple[int, int] | None
    has_more: bool = False  # there are earlier matches that are not counted

    @property
    def pattern(self) -> re.Pattern[str]:
        return _pattern(self.query)

    @property
    def summary(self) -> str:
        if not self.total:
            return "not found"
        most = "the last " if self.has_more else ""
        return f"{self.at:,} of {most}{self.total:,} {'line' if self.total == 1 else 'lines'}"

    @property
    def previous(self) -> int | None:
        return self.at - 1 if self.at > 1 else None

    @property
    def next(self) -> int | None:
        return self.at + 1 if self.at < self.total else None

    def line_in(self, shown: Window) -> int | None:
        """Return the index of the shown line among the lines of the window."""
        if not self.line or not shown.start < self.line[1] <= shown.stop:
            return None
        return plain_text(shown.data[: max(0, self.line[0] - shown.start)]).count("\n")


def query_of(text: str) -> str:
    """Return the search text in a URL."""
    return text.replace("\0", "").strip()[:LONGEST_QUERY]


def search(trial: Trial, query: str, *, at: int | None = None) -> Window:
    """Return the window around the `at`-th matching line, by default the last one."""
    pattern = _pattern(query)
    matches: deque[tuple[int, int]] = deque(maxlen=MAX_MATCHES)
    total = 0
    for begin, line in _lines(trial):
        if pattern.search(plain_text(line)):
            matches.append((begin, begin + len(line)))
            total += 1
    count = len(matches)
    place = min(max(1, at), count) if at is not None else count
    current_match = matches[place - 1] if matches else None
    result = Search(query, place, count, current_match, has_more=total > count)
    shown = window(trial, until=_end_after(trial, current_match[1]) if current_match else None)
    return Window(
        shown.data, shown.start, shown.stop, shown.total, shown.missing, shown.earlier, search=result
    )


def _pattern(query: str) -> re.Pattern[str]:
    return re.compile(re.escape(query), re.IGNORECASE)


def _lines(trial: Trial) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) of all bytes that were kept. A gap ends a line."""
    unfinished, begin = b"", 0
    for piece in LogPiece.objects.filter(trial=trial).order_by("offset").iterator(chunk_size=8):
        if piece.offset > begin + len(unfinished):
            if unfinished:
                yield begin, unfinished
            unfinished, begin = b"", piece.offset
        *lines, unfinished = (unfinished + bytes(piece.data)).split(b"\n")
        for line in lines:
            yield begin, line
            begin += len(line) + 1
        if len(unfinished) > LONGEST_LINE:
            yield begin, unfinished
            unfinished, begin = b"", begin + len(unfinished)
    if unfinished:
        yield begin, unfinished


def _end_after(trial: Trial, offset: int) -> int:
    """Return the end of a line shortly after `offset`, so that the window also shows what follows a match."""
    end, after = offset, b""
    pieces = LogPiece.objects.filter(trial=trial, offset__lt=offset + AFTER_BYTES).order_by("-offset")[:2]
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        if piece.offset + piece.size <= offset or piece.offset > max(end, offset) + len(after):
            continue  # before the match, or after a gap
        after += bytes(piece.data)[max(0, offset - piece.offset) :]
    after = after[:AFTER_BYTES]
    line_end = after.rfind(b"\n") + 1
    return offset + (line_end or len(after))


def _line(runs: list[StyledText], pattern: re.Pattern[str] | None, *, is_here: bool) -> str:
    """Return a line as HTML: styled runs with marked matches. The first match of the shown line gets an ID."""
    spans = deque(_spans("".join(run.text for run in runs), pattern))
    first = spans[0][0] if spans and is_here else None
    parts, at = [], 0
    for run in runs:
        begin, end = at, at + len(run.text)
        inside: list[str] = []
        while begin < end:
            while spans and spans[0][1] <= begin:
                spans.popleft()
            low, high = spans[0] if spans else (end, end)
            stop = min(low if begin < low else high, end)
            text = html.escape(run.text[begin - at : stop - at])
            if begin < low:
                inside.append(text)
            elif begin == first:
                inside.append(f'<mark id="match" class="is-here">{text}</mark>')
            else:
                inside.append(f"<mark>{text}</mark>")
            begin = stop
        parts.append(_coloured("".join(inside), run))
        at = end
    return "".join(parts)


def _spans(text: str, pattern: re.Pattern[str] | None) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)] if pattern else []


def _coloured(html: str, run: StyledText) -> str:
    if run.style == PLAIN:
        return html
    ink = f"ink-{run.style.color}" if run.style.color is not None else ""
    css = " ".join(word for word in (ink, "is-bold" if run.style.is_bold else "") if word)
    return format_html('<span class="{}">{}</span>', css, mark_safe(html))  # noqa: S308 (escaped above)
