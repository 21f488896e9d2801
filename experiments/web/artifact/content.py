"""The content of a file, detected by its bytes rather than its name: image, table, JSON, Markdown, text or binary."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

MAX_BYTES = 2 << 20  # read of a file; only the beginning of a larger one
MAX_TEXT = 256 << 10  # characters of a text that are shown
MAX_ROWS, MAX_COLUMNS, MAX_CELL = 1_000, 50, 300
MAX_LINES = 1_000  # of JSON lines
MARKDOWN = (".md", ".markdown")
TABLES = {".csv": "", ".tsv": "\t", ".tab": "\t"}
DELIMITERS = ",;\t|"
MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}
TEXT_CONTROLS = {"\t", "\n", "\r", "\f", "\b", "\x1b"}


@dataclass
class Content:
    """What is shown of a file. `kind` is image, table, json, markdown, text, binary or empty.

    `is_all`: nothing was left out. `notes` are sentences about what was left out or looks wrong.
    """

    kind: str
    text: str = ""
    header: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    numeric: list[bool] = field(default_factory=list)  # the columns of the table with numbers alone
    value: Any = None  # of JSON
    first_row: int = 1  # of the table that is shown; 0 in the next two: there is none
    previous_row: int = 0
    next_row: int = 0
    is_all: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def titles(self) -> list[tuple[str, bool]]:
        """The header: each cell, and whether its column has numbers alone."""
        return list(zip(self.header, self.numeric, strict=True))

    @property
    def lines(self) -> list[list[tuple[str, bool]]]:
        """The rows in the same form."""
        return [list(zip(row, self.numeric, strict=True)) for row in self.rows]


def image_type(data: bytes) -> str:
    """Return the content type of an image that is safe to show, by its first bytes; empty for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), "")


def content_of(name: str, data: bytes, *, size: int, is_raw: bool = False, first_row: int = 1) -> Content:
    """Return the content of a file of `size` bytes, of which `data` are the first ones. `is_raw`: text as it is.
    `first_row`, from 1, begins the part of a table that is shown; beyond its end, the last part is."""
    if not data:
        return Content("empty")
    if image_type(data):
        return Content("image")
    is_all = len(data) >= size
    text, notes = _decoded(data, is_all=is_all)
    if text is None:
        return Content("binary")
    suffix = PurePosixPath(name).suffix.lower()
    shown: Content | None = None
    if not is_raw and suffix in TABLES:
        shown = _table(text, TABLES[suffix], is_all=is_all, first_row=first_row)
    elif not is_raw and suffix in (".json", ".jsonl", ".ndjson"):
        shown = _json(text, is_lines=suffix != ".json", is_all=is_all)
    elif not is_raw and suffix in MARKDOWN and len(text) <= MAX_TEXT and is_all:
        shown = Content("markdown", text)
    if shown is None:
        shown = _plain(text, is_all=is_all)
        if not is_raw and suffix == ".json":
            why = "valid JSON" if is_all else "small enough for a tree"
            shown.notes.insert(0, f"Not {why}; shown as text.")
        elif not is_raw and suffix in TABLES:
            shown.notes.insert(0, "Not a valid table; shown as text.")
    shown.notes += notes
    return shown


def _decoded(data: bytes, *, is_all: bool) -> tuple[str | None, list[str]]:
    """Return (text, notes); (None, []) for binary data. A character cut at the end is dropped."""
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), "")
    if not encoding and b"\0" in data:
        return None, []
    try:
        return data.decode(encoding or "utf-8"), []
    except UnicodeDecodeError as error:
        if not is_all and error.start >= len(data) - 4:
            return data[: error.start].decode(encoding or "utf-8"), []
    if encoding:
        return data.decode(encoding, errors="replace"), [
            f"Invalid {encoding.upper()}: some characters are replaced."
        ]
    text = data.decode("latin-1")
    odd = sum(
        ord(letter) < 32 and letter not in TEXT_CONTROLS or 127 <= ord(letter) < 160 for letter in text[:8192]
    )
    if odd > len(text[:8192]) // 20:
        return None, []
    return text, ["Not UTF-8; read as Latin-1."]


def _plain(text: str, *, is_all: bool) -> Content:
    shown = text[:MAX_TEXT]
    is_whole = is_all and len(text) <= MAX_TEXT
    notes = [] if is_whole else [f"The first {len(shown):,} characters are shown."]
    return Content("text", shown, is_all=is_whole, notes=notes)


def _table(text: str, delimiter: str, *, is_all: bool, first_row: int) -> Content | None:
    if not is_all:
        text = text[: text.rfind("\n") + 1]
    if "\0" in text:
        return None
    text = text.removeprefix("\ufeff")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or _delimiter(text))
    try:
        first, *every = reader
    except (csv.Error, ValueError):
        return None
    total = len(every)
    start = (min(first_row, max(total, 1)) - 1) // MAX_ROWS * MAX_ROWS
    rows = [first, *every[start : start + MAX_ROWS]]
    width = max(len(row) for row in rows)
    header, *body = ([_cell(cell) for cell in row[:MAX_COLUMNS]] for row in rows)
    columns = min(width, MAX_COLUMNS)
    header += [""] * (columns - len(header))
    body = [row + [""] * (columns - len(row)) for row in body]
    notes = []
    if total > MAX_ROWS or not is_all:
        of = f" of {total:,}" if is_all else ""
        shown = (
            f"Rows {start + 1:,} to {start + len(body):,}{of}"
            if start
            else f"The first {len(body):,}{of} rows"
        )
        notes.append(f"{shown} are shown.")
        if not is_all and start + len(body) == total:
            notes.append("The rest of the file is too large to be shown; download it.")
    if width > MAX_COLUMNS:
        notes.append(f"The first {MAX_COLUMNS} of {width:,} columns are shown.")
    numeric = [all(_is_number(row[place]) for row in body) for place in range(columns)]
    return Content(
        "table",
        header=header,
        rows=body,
        numeric=numeric,
        is_all=not notes,
        notes=notes,
        first_row=start + 1,
        previous_row=max(start - MAX_ROWS + 1, 0) if start else 0,
        next_row=start + MAX_ROWS + 1 if start + MAX_ROWS < total else 0,
    )


def _delimiter(text: str) -> str:
    """Return the delimiter that occurs most in the first line."""
    first = text.split("\n", 1)[0]
    return max(DELIMITERS, key=first.count)


def _cell(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def _is_number(text: str) -> bool:
    if not text.strip():
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json(text: str, *, is_lines: bool, is_all: bool) -> Content | None:
    text = text.removeprefix("\ufeff")
    try:
        if not is_lines:
            return Content("json", value=json.loads(text)) if is_all else None
        lines = [line for line in text.splitlines() if line.strip()]
        lines = lines if is_all else lines[:-1]
        values = [json.loads(line) for line in lines[:MAX_LINES]]
    except (ValueError, RecursionError):
        return None
    is_whole = is_all and len(lines) <= MAX_LINES
    notes = [] if is_whole else [f"The first {len(values):,} lines are shown."]
    return Content("json", value=values, is_all=is_whole, notes=notes)
