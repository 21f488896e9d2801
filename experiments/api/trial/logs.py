"""A trial's log, read forward in byte ranges: to follow it while the trial runs, and to download it."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from ninja import Query, Router
from pydantic import BaseModel, Field

from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import responses
from experiments.models import LogPiece, Trial
from experiments.models.trial.log import PIECE_BYTES

from .trials import find_trial

router = Router(tags=["Trials"], by_alias=True)

LONGEST_CHARACTER = 4  # bytes, in UTF-8
MAX_BYTES = 1024 * 1024
DEFAULT_BYTES = 64 * 1024

From = Annotated[int, Query(alias="from", description="Byte offset; a negative offset counts from the end.")]
Count = Annotated[int, Query(alias="bytes", ge=LONGEST_CHARACTER, le=MAX_BYTES)]


class Gap(BaseModel):
    """The part of the log that was dropped just before this text. Long logs keep their first and last 8 MiB."""

    start: int = Field(alias="from")
    bytes: int


class LogOut(BaseModel):
    """A range of the log. Continue from `next`; `is_whole` is true when nothing more will follow."""

    text: str
    start: int = Field(alias="from", description="Byte offset of the text.")
    next: int = Field(description="Byte offset of the next range.")
    size: int = Field(description="Bytes written so far.")
    is_whole: bool = Field(
        description="Whether the trial has ended and this range reaches the end of its log."
    )
    gap: Gap | None


@router.get(
    "/experiments/{slug:public_id}/trials/{int:number}/log",
    response=responses(LogOut, may_conflict=True),
    summary="Read a trial's log",
)
def log(
    request: ApiRequest, public_id: str, number: int, start: From = 0, count: Count = DEFAULT_BYTES
) -> dict[str, Any]:
    """The log as written, with color codes and carriage returns. Bytes that are not UTF-8 become U+FFFD. A range holds
    whole characters only."""
    trial = find_trial(request, public_id, number)
    log_range = read(trial, start=start, count=count)
    return {
        "text": log_range.text,
        "from": log_range.start,
        "next": log_range.stop,
        "size": log_range.total,
        "is_whole": trial.is_settled and log_range.stop >= log_range.total,
        "gap": {"from": log_range.start - log_range.missing, "bytes": log_range.missing}
        if log_range.missing
        else None,
    }


@dataclass(frozen=True, slots=True)
class Range:
    """A range of a log as text: bytes `start` to `stop` of `total`; `missing` bytes before it were dropped."""

    text: str
    start: int
    stop: int
    total: int
    missing: int = 0


def read(trial: Trial, *, start: int, count: int) -> Range:
    """Return up to `count` bytes (at least 4) from byte `start`; a negative `start` counts from the end.

    A range holds whole characters only: an incomplete character is left for the next range. A range never spans a
    dropped part: it ends before it, and a range that starts within it begins after it. Bytes that are not UTF-8 become
    U+FFFD.
    """
    total = trial.log_bytes
    requested = start = max(0, total + start) if start < 0 else min(start, total)
    data, before = _bytes(trial, start, count)
    if not data and (later := _next_offset(trial, start)):
        start = later
        data, before = _bytes(trial, start, count)
    if not data:
        return Range("", total, total, total, missing=total - requested)
    missing, is_full = start - requested, len(data) == count
    inside = 0 if missing else _rest_of_character(before, data)
    data, start = data[inside:], start + inside
    stop = start + len(data)
    total = max(total, stop)  # the log may have grown since the row was read
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    if is_full or (stop == total and not trial.is_settled):
        stop -= len(decoder.getstate()[0])  # the rest of a character comes with the next range
    else:
        text += decoder.decode(b"", final=True)
    return Range(text, start, stop, total, missing=missing)


def _next_offset(trial: Trial, start: int) -> int | None:
    """Return where the log continues after the part that was dropped at `start`."""
    pieces = LogPiece.objects.filter(trial=trial, offset__gte=start).order_by("offset")
    return pieces.values_list("offset", flat=True).first()


def _bytes(trial: Trial, start: int, count: int) -> tuple[bytes, bytes]:
    """Return up to `count` consecutive bytes from `start`, and the few bytes just before them."""
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
                break  # a part was dropped here
            begin = piece.offset
            data.clear()
        data += own
    if begin is None or begin > start or begin + len(data) <= start:
        return b"", b""
    return bytes(data[start - begin : stop - begin]), bytes(data[max(0, peek - begin) : start - begin])


def _rest_of_character(before: bytes, data: bytes) -> int:
    """Return how many bytes at the beginning of `data` belong to a character that began in `before`."""
    for back, byte in enumerate(reversed(before), 1):
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            whole_characters = data[: max(0, length - back)]
            return (
                len(whole_characters)
                if all(0x80 <= continuation < 0xC0 for continuation in whole_characters)
                else 0
            )
    return 0
