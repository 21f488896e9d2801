"""Pages of a long table. A page in the second half is read from the end: the last page is as fast as the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from experiments.query_parameters import invalid

from .query_checks import note_fault

Row = TypeVar("Row", bound=Model)

SIZE = 50
SHOWN = 5  # URLs of pages around this one


@dataclass(frozen=True)
class Pager:
    """The context of `components/table/_pager.html`: a summary of the rows, and the URLs of other pages.

    `pages` are (number, URL, whether it is this one).
    """

    summary: str
    start: str | None = None
    previous: str | None = None
    pages: list[tuple[int, str, bool]] = field(default_factory=list)
    next: str | None = None
    end: str | None = None


def page_of(
    request: HttpRequest,
    rows: QuerySet[Row, Any],
    *,
    total: int,
    parts: Sequence[QuerySet[Any, Any]] = (),
    is_total_exact: bool = True,
    read: Callable[[Sequence[int]], Iterable[Row]] | None = None,
) -> tuple[list[Row], Pager]:
    """Return the rows of the page in `?page=`, and its pager.

    A page beyond the end is the last one. If `rows` are not ordered, `parts` are the ordered rows in consecutive parts.
    If the total is not exact, there are more rows, and pages beyond it. `read` reads the complete rows with these keys,
    in any order.
    """
    last = max(1, -(-total // SIZE))
    page_text = request.GET.get("page", "1")
    page = max(1, int(page_text)) if page_text.isdecimal() and len(page_text) < 16 else 1
    page = page_within(request, page, last) if is_total_exact else page
    start, stop = (page - 1) * SIZE, page * SIZE
    keys = [
        part.values_list("pk", flat=True) for part in parts or [rows]
    ]  # complete rows are ten times as large
    if is_total_exact and start > total // 2:
        backward = [part.reverse() for part in reversed(keys)]
        wanted_keys = slice_of(backward, max(0, total - stop), total - start)[::-1]
    else:
        wanted_keys = slice_of(keys, start, min(stop, total) if is_total_exact else stop)
    complete = read(wanted_keys) if read else rows.order_by().filter(pk__in=wanted_keys)
    rows_by_key = {row.pk: row for row in complete}
    shown = [rows_by_key[key] for key in wanted_keys if key in rows_by_key]  # without those deleted meanwhile
    pager = _pager(request, page=page, last=last, start=start, stop=start + len(shown), total=total)
    if not is_total_exact:
        pager = replace(
            pager, summary=f"{pager.summary}+", end=None, next=pager.next or _beyond(request, page, shown)
        )
    return shown, pager


def page_within(request: HttpRequest, page: int, last: int) -> int:
    """Return the page, or the last one with a fault in place of a page beyond it."""
    if page > last:
        note_fault(request, "page", invalid("page", str(page), f"1 to {last}" if last > 1 else "1"))
    return min(page, last)


def _beyond(request: HttpRequest, page: int, shown: Sequence[object]) -> str | None:
    return _url(request, page + 1) if len(shown) == SIZE else None


def slice_of(parts: Sequence[QuerySet[Any, Any]], start: int, stop: int) -> list[int]:
    """Return the keys from `start` to `stop` of all parts together. A part is counted only if it ends before
    `start`."""
    keys: list[int] = []
    for part in parts:
        more = list(part[start:stop])
        keys += more
        if len(more) == stop - start:
            break
        length = start + len(more) if more or not start else part.order_by().count()
        start, stop = max(0, start - length), stop - length
    return keys


def _pager(request: HttpRequest, *, page: int, last: int, start: int, stop: int, total: int) -> Pager:
    def url(number: int) -> str:
        return _url(request, number)

    first_shown = max(1, min(page - SHOWN // 2, last - SHOWN + 1))
    around = range(first_shown, min(last, first_shown + SHOWN - 1) + 1)
    return Pager(
        summary=f"{start + 1:,} to {stop:,} of {total:,}" if stop > start else "No trials",
        start=url(1) if first_shown > 1 else None,
        previous=url(page - 1) if page > 1 else None,
        pages=[(number, url(number), number == page) for number in around] if last > 1 else [],
        next=url(page + 1) if page < last else None,
        end=url(last) if around[-1] < last else None,
    )


def _url(request: HttpRequest, number: int) -> str:
    query = request.GET.copy()
    query["page"] = str(number)
    return f"?{query.urlencode()}"
