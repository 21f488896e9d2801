"""Read-only texts on pages: a colored diff, or a configuration; with search matches highlighted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

MOST_LINES = 2000  # shown, unless all are requested
LONGEST_QUERY = 200

_FILE = ("diff --git ", "index ", "--- ", "+++ ", "new file", "deleted file", "rename ", "similarity ")


@dataclass(frozen=True)
class Text:
    """`lines` are (kind, HTML) with kind add, del, at, file or "". `matches` is the number of lines, out of `total`,
    that contain `query`."""

    name: str
    text: str
    lines: list[tuple[str, SafeString]]
    total: int
    query: str
    matches: int

    @property
    def is_cut(self) -> bool:
        return len(self.lines) < self.total


def read(
    text: str, *, name: str = "", query: str = "", is_diff: bool = False, is_whole: bool = False
) -> Text:
    """Return the text for a page: its first `MOST_LINES` lines unless `is_whole`."""
    query = query[:LONGEST_QUERY]
    pattern = re.compile(re.escape(query), re.IGNORECASE) if query else None
    rows = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    matches = sum(bool(pattern.search(row)) for row in rows) if pattern else 0
    shown = islice(_kinds(rows) if is_diff else (("", row) for row in rows), None if is_whole else MOST_LINES)
    return Text(name, text, [(kind, _marked(row, pattern)) for kind, row in shown], len(rows), query, matches)


def counts(diff: str) -> tuple[int, int, int]:
    """Return (files, added lines, removed lines) of a diff."""
    kinds = [kind for kind, _ in _kinds(diff.split("\n"))]
    files = len(re.findall(r"^\+\+\+ ", diff, re.MULTILINE))
    return files, kinds.count("add"), kinds.count("del")


def _kinds(rows: list[str]) -> Iterator[tuple[str, str]]:
    is_head = True  # `--- x` within a hunk is a removed line
    for row in rows:
        if row.startswith("diff --git "):
            is_head = True
        elif row.startswith("@@"):
            is_head = False
        if row.startswith("@@"):
            yield "at", row
        elif (is_head and row.startswith(_FILE)) or row.startswith("diff --git "):
            yield "file", row
        else:
            yield {"+": "add", "-": "del"}.get(row[:1], ""), row


def _marked(row: str, pattern: re.Pattern[str] | None) -> SafeString:
    if pattern is None:
        return mark_safe(escape(row))  # noqa: S308 (escaped)
    parts, at = [], 0
    for match in pattern.finditer(row):
        parts += [escape(row[at : match.start()]), format_html("<mark>{}</mark>", match[0])]
        at = match.end()
    return mark_safe("".join([*parts, escape(row[at:])]))  # noqa: S308 (escaped)
