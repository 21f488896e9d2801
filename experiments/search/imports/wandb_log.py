"""Read `.wandb` files: the log in which W&B keeps a run, also one that was never synced.

The file is a log in LevelDB's format with W&B's header and plain CRC-32; each record is a protobuf message `Record`.
Source: wandb/sdk/internal/datastore.py and wandb/proto/wandb_internal.proto (the numbers of the fields).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from .errors import ReadError

IDENT, MAGIC, VERSION = b":W&B", 0xBEE1, 0
BLOCK = 32_768  # bytes; a record is split at the end of a block
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # the whole record, or parts of it
MAX_RECORD = 16 << 20  # bytes
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 5, 17, 18  # fields of `Record`
RUN_ID, RUN_CONFIG, RUN_SUMMARY, RUN_NAME, RUN_STARTED = 1, 4, 5, 8, 17  # of `RunRecord`
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf

Field = tuple[int, int | bytes]  # number and value


def run_of(file: IO[bytes], name: str) -> dict[str, Any]:
    """Return the ID, name, state, config and summary of a run, as W&B's API does; `created_at` in seconds since 1970.
    A run without an end has crashed. Raise ReadError."""
    run: dict[str, Any] = {"state": "crashed", "config": {}, "summary": {}}
    log, has_run = _Log(file, name), False
    with log.damage_as_read_error():
        for kind, value in log.entries():
            if kind == RUN:
                has_run = True
                _learn_run(run, value)
            elif kind == HISTORY:
                run["summary"] |= _items(value, 1)
            elif kind in (CONFIG, SUMMARY):
                _change(run["config" if kind == CONFIG else "summary"], value)
            elif kind == EXIT:
                run["state"] = "failed" if dict(_fields(value)).get(1) else "finished"
    if not has_run:
        raise ReadError(f"{name} contains no run: nothing was logged. Leave this file out.")
    return run


def history_of(file: IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run's history in their order."""
    log = _Log(file, name)
    with log.damage_as_read_error():
        for kind, value in log.entries():
            if kind == HISTORY:
                row = _items(value, 1)
                step = dict(_fields(value)).get(2)
                if isinstance(step, bytes):
                    row.setdefault("_step", dict(_fields(step)).get(1, 0))
                yield row


def _learn_run(run: dict[str, Any], value: bytes) -> None:
    fields = dict(_fields(value))
    run["id"], run["name"] = (_text(fields.get(number)) for number in (RUN_ID, RUN_NAME))
    for number, key in ((RUN_CONFIG, "config"), (RUN_SUMMARY, "summary")):
        if isinstance(part := fields.get(number), bytes):
            _change(run[key], part)
    if isinstance(started := fields.get(RUN_STARTED), bytes):
        run["created_at"] = dict(_fields(started)).get(1)


def _change(items: dict[str, Any], value: bytes) -> None:
    """Apply a `ConfigRecord` or `SummaryRecord`: items to update, items to remove."""
    items |= _items(value, 1)
    for name in _items(value, 2):
        items.pop(name, None)


def _items(value: bytes, number: int) -> dict[str, Any]:
    """Return the repeated items of a message: key (or nested keys) and a JSON value."""
    items = {}
    for field, item in _fields(value):
        if field != number or not isinstance(item, bytes):
            continue
        key, nested, text = "", [], "null"
        for part, content in _fields(item):
            if part == 1:
                key = _text(content)
            elif part == 2:
                nested.append(_text(content))
            elif part == 16:
                text = _text(content)
        try:
            items[key or ".".join(nested)] = json.loads(text)
        except (ValueError, RecursionError):
            raise _Broken(f"the value of {key[:100]} is not JSON") from None
    return items


def _text(value: int | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


class _Broken(Exception):
    pass


class _Log:
    """A log that is read once. `_at`: where its current record begins, in bytes."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name, self._at = file, name, 0

    @contextmanager
    def damage_as_read_error(self) -> Iterator[None]:
        """Raise ReadError, which says where the file is damaged and what to do."""
        try:
            yield
        except _Broken as problem:
            raise ReadError(
                f"{self._name} is damaged near byte {self._at:,}: {problem}. Copy the file again, or sync the run and "
                "import it as JSON."
            ) from None

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Yield the kind and message of each record."""
        for record in self.records():
            for number, value in _fields(record):
                if isinstance(value, bytes):
                    yield number, value

    def records(self) -> Iterator[bytes]:
        """Yield the records; those that span blocks are joined, and every checksum is compared."""
        file, name = self._file, self._name
        head = file.read(7)
        if len(head) < 7 or head[:4] != IDENT:
            raise ReadError(f"{name} is not a .wandb file: its header is missing. Copy it again.")
        magic, version = struct.unpack("<HB", head[4:])
        if magic != MAGIC or version != VERSION:
            raise ReadError(
                f"{name} has version {version} of the log ({magic:#06x}); only version {VERSION} can be read. Sync the "
                "run and import it as JSON."
            )
        at, parts = 7, b""
        is_open = False
        while True:
            if (left := BLOCK - at % BLOCK) < 7:  # padding
                file.read(left)
                at += left
                continue
            if not is_open:
                self._at = at
            head = file.read(7)
            if not head:
                if is_open:
                    raise self._truncated()
                return
            if len(head) < 7:
                raise self._truncated()
            checksum, size, kind = struct.unpack("<IHB", head)
            data = file.read(size)
            if len(data) < size:
                raise self._truncated()
            if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
                raise _Broken(f"the checksum of the record at byte {at:,} is wrong")
            if kind not in (FULL, FIRST, MIDDLE, LAST) or is_open != (kind in (MIDDLE, LAST)):
                raise _Broken(f"the record at byte {at:,} is out of order")
            parts += data
            at += 7 + size
            if len(parts) > MAX_RECORD:
                raise ReadError(
                    f"{name}: the record at byte {self._at:,} is larger than {MAX_RECORD >> 20} MiB."
                )
            is_open = kind in (FIRST, MIDDLE)
            if not is_open:
                yield parts
                parts = b""

    def _truncated(self) -> ReadError:
        return ReadError(
            f"{self._name} ends within the record at byte {self._at:,}: the run is not over, was killed, or the copy "
            "is incomplete. Copy the file after the run, or sync the run and import it as JSON."
        )


def _fields(data: bytes) -> Iterator[Field]:
    """Yield the fields of a protobuf message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        value: int | bytes
        if wire == VARINT:
            value, at = _varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(wire, 0)
            if wire == BYTES:
                size, at = _varint(data, at)
            elif not size:
                raise _Broken(f"a field has the unknown type {wire}")
            value = data[at : at + size]
            at += size
            if at > len(data):
                raise _Broken("a field is longer than its record")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Broken("a number has no end")
