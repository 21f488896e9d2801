"""What a trial printed, forward by ranges of bytes: to follow it while it runs, and to fetch it whole."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.models import LogPiece, Trial
from experiments.models.log import PIECE_BYTES

from .serialization import says
from .trials import find_trial

router = Router(tags=["Trials"], by_alias=True)

LONGEST_CHARACTER = 4  # bytes, in UTF-8
MOST_BYTES = 1024 * 1024
USUAL_BYTES = 64 * 1024

From = Annotated[int, Query(alias="from", description="A byte; a negative one counts from the end.")]
Count = Annotated[int, Query(alias="bytes", ge=LONGEST_CHARACTER, le=MOST_BYTES)]


class Gap(BaseModel):
    """What was cut out just before this text: of a long log the first and the last 8 MiB are kept."""

    start: int = Field(alias="from")
    bytes: int


class LogOut(BaseModel):
    """Some of a log. Ask again from `next` to read on; `is_whole` says that nothing more will come."""

    text: str
    start: int = Field(alias="from", description="The byte with which the text begins.")
    next: int = Field(description="The byte with which the next range begins.")
    size: int = Field(description="Bytes that were printed so far.")
    is_whole: bool = Field(description="The trial has ended, and this range reaches to the end of its log.")
    gap: Gap | None


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/log",
    response=says(LogOut, actions=True),
    summary="Read a trial's log",
)
def log(
    request: HttpRequest, public_id: str, number: int, start: From = 0, count: Count = USUAL_BYTES
) -> dict[str, Any]:
    """As it was printed, colours and carriage returns included; bytes that are no UTF-8 become U+FFFD. A range holds
    whole characters only."""
    trial = find_trial(request, public_id, number)
    found = read(trial, start=start, count=count)
    return {
        "text": found.text,
        "from": found.start,
        "next": found.stop,
        "size": found.total,
        "is_whole": trial.is_settled and found.stop >= found.total,
        "gap": {"from": found.start - found.missing, "bytes": found.missing} if found.missing else None,
    }


@dataclass(frozen=True, slots=True)
class Range:
    """Some of a log as text: its bytes from `start` to `stop`, of `total`; `missing` bytes before it were cut."""

    text: str
    start: int
    stop: int
    total: int
    missing: int = 0


def read(trial: Trial, *, start: int, count: int) -> Range:
    """The next `count` bytes, or fewer, from byte `start`; a negative one counts from the end.

    Holds whole characters only: one that is not complete yet is left for the next range. Never reaches over what
    was cut: a range ends before it, and one that starts in it begins behind it. Bytes that are no UTF-8 become
    U+FFFD. `count` is at least 4.
    """
    total = trial.log_bytes
    asked = start = max(0, total + start) if start < 0 else min(start, total)
    data, before = _bytes(trial, start, count)
    if not data and (later := _next(trial, start)):
        start = later
        data, before = _bytes(trial, start, count)
    if not data:
        return Range("", total, total, total, missing=total - asked)
    missing, is_full = start - asked, len(data) == count
    inside = 0 if missing else _rest_of_character(before, data)
    data, start = data[inside:], start + inside
    stop = start + len(data)
    total = max(total, stop)  # it grew since the row was read
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    if is_full or (stop == total and not trial.is_settled):
        stop -= len(decoder.getstate()[0])  # the rest of a character comes with the next range
    else:
        text += decoder.decode(b"", final=True)
    return Range(text, start, stop, total, missing=missing)


def _next(trial: Trial, start: int) -> int | None:
    """Where what is kept goes on, behind what was cut at `start`."""
    kept = LogPiece.objects.filter(trial=trial, offset__gte=start).order_by("offset")
    return kept.values_list("offset", flat=True).first()


def _bytes(trial: Trial, start: int, count: int) -> tuple[bytes, bytes]:
    """(at most `count` bytes that follow each other from `start`, those just before them)."""
    peek = max(0, start - LONGEST_CHARACTER + 1)
    near = LogPiece.objects.filter(trial=trial, offset__gt=peek - PIECE_BYTES, offset__lt=start + count)
    return _joined(near.order_by("offset"), peek, start, start + count)


def _joined(pieces: Iterable[LogPiece], peek: int, start: int, stop: int) -> tuple[bytes, bytes]:
    data, begin = bytearray(), None
    for piece in pieces:
        own = bytes(piece.data)
        if piece.offset + len(own) <= peek:
            continue
        if begin is None or piece.offset != begin + len(data):
            if begin is not None and begin + len(data) > start:
                break  # here something was cut
            begin = piece.offset
            data.clear()
        data += own
    if begin is None or begin > start or begin + len(data) <= start:
        return b"", b""
    return bytes(data[start - begin : stop - begin]), bytes(data[max(0, peek - begin) : start - begin])


def _rest_of_character(before: bytes, data: bytes) -> int:
    """How many bytes of a character that began in `before` stand at the beginning of `data`."""
    for back, byte in enumerate(reversed(before), 1):
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            rest = data[: max(0, length - back)]
            return len(rest) if all(0x80 <= one < 0xC0 for one in rest) else 0
    return 0
