"""What a trial printed, a window at a time, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments.models import LogPiece, Trial
from experiments.models.log import PIECE_BYTES
from experiments.runner.log import plain


@dataclass(frozen=True, slots=True)
class Window:
    """Some of a log: the text of the bytes `start` to `stop`, and how many are missing just before it.

    `earlier` is where the window before this one ends; None at the beginning.
    """

    text: str
    start: int
    stop: int
    total: int
    missing: int
    earlier: int | None

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def is_end(self) -> bool:
        return self.stop >= self.total


def window(trial: Trial, *, until: int | None = None, size: int = PIECE_BYTES) -> Window:
    """The last `size` bytes before `until` (None: the end), from the beginning of a line where there is one.

    Never reaches over what was cut: there it begins, and says how much is missing.
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
        return Window("", 0, 0, trial.log_bytes, 0, None)
    if len(data) > size:
        data, start, missing = data[-size:], stop - size, 0
        line = data.find(b"\n") + 1
        if 0 < line < len(data):
            data, start = data[line:], start + line
    elif start and not missing and before == 0:
        missing, before = _missing_before(trial, start)
    earlier = before if missing else start
    return Window(plain(data), start, stop, trial.log_bytes, missing, earlier or None)


def _missing_before(trial: Trial, start: int) -> tuple[int, int]:
    last = LogPiece.objects.filter(trial=trial, offset__lt=start).order_by("-offset").first()
    end = last.offset + last.size if last else 0
    return start - end, end


def whole(trial: Trial) -> Iterator[bytes]:
    """All that is kept, as it was printed; a line says where something was cut, and how much."""
    at = 0
    for piece in LogPiece.objects.filter(trial=trial).order_by("offset").iterator(chunk_size=8):
        if piece.offset > at:
            yield f"\n[... {piece.offset - at:,} bytes were not kept ...]\n".encode()
        yield bytes(piece.data)
        at = piece.offset + len(piece.data)
