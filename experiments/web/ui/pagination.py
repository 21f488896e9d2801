"""Pages of a long table. A page in the second half is read from the end: the last page is as fast as the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)

SIZE = 50
SHOWN = 5  # addresses of pages around this one


@dataclass(frozen=True)
class Pager:
    """What `components/table/_pager.html` draws: a summary of the rows, and the addresses of other pages.

    `pages` are (number, address, whether it is this one).
    """

    summary: str
    start: str | None = None
    previous: str | None = None
    pages: list[tuple[int, str, bool]] = field(default_factory=list)
    next: str | None = None
    end: str | None = None


def page_of(request: HttpRequest, rows: QuerySet[Row, Any], *, total: int) -> tuple[list[Row], Pager]:
    """Return the rows of the page in `?page=`, and its pager.

    A page beyond the end is the last one.
    """
    last = max(1, -(-total // SIZE))
    wanted = request.GET.get("page", "1")
    page = min(max(1, int(wanted)), last) if wanted.isdecimal() and len(wanted) < 10 else 1
    start, stop = (page - 1) * SIZE, min(page * SIZE, total)
    keys = rows.values_list("pk", flat=True)  # sorted alone: whole rows are ten times as heavy
    if start > total // 2:
        wanted_keys = list(keys.reverse()[total - stop : total - start])[::-1]
    else:
        wanted_keys = list(keys[start:stop])
    rows_by_key = {row.pk: row for row in rows.order_by().filter(pk__in=wanted_keys)}
    shown = [rows_by_key[key] for key in wanted_keys if key in rows_by_key]
    return shown, _pager(request, page=page, last=last, start=start, stop=start + len(shown), total=total)


def _pager(request: HttpRequest, *, page: int, last: int, start: int, stop: int, total: int) -> Pager:
    def url(number: int) -> str:
        query = request.GET.copy()
        query["page"] = str(number)
        return f"?{query.urlencode()}"

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
