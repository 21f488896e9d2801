"""The pages of the audit log, and their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from experiments.models import AuditEntry, User, Workspace
from experiments.models.audit.entry import AuditQuerySet
from experiments.models.audit.verbs import KINDS
from experiments.permissions import require, require_administrator
from experiments.query_parameters import did_you_mean, listed, quoted
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .query import FILTERS, PARAMETERS, SYSTEM, AuditQuery

UserQuerySet = QuerySet[User, User]
SIZE = 100  # entries of a page
AT_ONCE = 500  # rows of the file
MOST_PEOPLE = 200
COLUMNS = (
    "at", "who", "token", "what", "verb", "kind", "workspace", "subject", "details", "address", "via",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Day:
    """The entries of one day in the reader's time zone."""

    date: date
    heading: str
    entries: list[AuditEntry]


@login_required
@require_safe
@takes(PARAMETERS)
def of_workspace(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show the entries of a workspace, for its owners, in a fixed number of queries."""
    workspace, entries = _of(request, workspace_slug)
    return _draw(request, entries, workspace=workspace, people=_members(workspace))


@login_required
@require_safe
@takes(PARAMETERS)
def of_installation(request: SignedInRequest) -> HttpResponse:
    """Show all entries, for administrators."""
    require_administrator(request.user)
    return _draw(request, AuditEntry.objects.all(), workspace=None, people=User.objects.all())


@login_required
@require_safe
@takes(FILTERS)
def file_of_workspace(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the matching entries of a workspace."""
    workspace, entries = _of(request, workspace_slug)
    return _file(request, entries, kind, name=f"{workspace.slug}-audit", people=_members(workspace))


@login_required
@require_safe
@takes(FILTERS)
def file_of_installation(request: SignedInRequest, kind: str) -> StreamingHttpResponse:
    """Send all matching entries."""
    require_administrator(request.user)
    return _file(request, AuditEntry.objects.all(), kind, name="audit", people=User.objects.all())


def _members(workspace: Workspace) -> UserQuerySet:
    return User.objects.filter(memberships__workspace=workspace)


def _of(request: SignedInRequest, workspace_slug: str) -> tuple[Workspace, AuditQuerySet]:
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return workspace, AuditEntry.objects.of_workspace(workspace)


def _query(request: SignedInRequest, entries: AuditQuerySet, people: UserQuerySet) -> AuditQuery:
    """Return the filters in the URL. Note a person who has neither an account nor an entry."""
    query = AuditQuery.of(request.GET)
    if query.who in ("", SYSTEM) or entries.filter(who=query.who).exists():
        return query
    names = list(people.order_by("username").values_list("username", flat=True)[:MOST_PEOPLE])
    if query.who not in names:
        sentence = (
            f"No entries of {quoted(query.who)}. {did_you_mean(query.who, names)}Allowed: {listed(names)}."
        )
        note_fault(request, "who", sentence)
    return query


def _draw(
    request: SignedInRequest, entries: AuditQuerySet, *, workspace: Workspace | None, people: UserQuerySet
) -> HttpResponse:
    query = _query(request, entries, people)
    matching = query.matching(entries)
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 16:
        matching = matching.filter(pk__lt=int(before))
    page = list(matching.select_related("workspace")[: SIZE + 1])
    shown = page[:SIZE]
    prefix, arguments = ("", [workspace.slug]) if workspace else ("installation-", [])
    files = {
        kind: reverse(f"{prefix}audit-{kind}", args=arguments) + _changed(request.GET, before=None)
        for kind in ("csv", "json")
    }
    context = {
        "workspace": workspace,
        "nav": "settings" if workspace else "audit",
        "days": _days(shown),
        "entry_count": len(shown),
        "query": query,
        "from": query.since.isoformat() if query.since else "",
        "to": query.until.isoformat() if query.until else "",
        "people": list(people.order_by("username")[:MOST_PEOPLE]),
        "system": SYSTEM,
        "kinds": KINDS.items(),
        "kept_days": settings.AUDIT_DAYS,
        "older": _changed(request.GET, before=str(shown[-1].pk)) if len(page) > SIZE else "",
        "newest": _changed(request.GET, before=None) if before else "",
        **files,
    }
    return render(request, "audit/show.html", context)


def _days(entries: Iterable[AuditEntry]) -> list[Day]:
    today = timezone.localdate()

    def day_of(entry: AuditEntry) -> date:
        return timezone.localtime(entry.at).date()

    def heading(day: date) -> str:
        text = f"{day:%A} {day.day} {day:%B}" if day.year == today.year else f"{day.day} {day:%B %Y}"
        return f"Today, {text}" if day == today else text

    return [Day(day, heading(day), list(of_day)) for day, of_day in groupby(entries, key=day_of)]


def _changed(address: QueryDict, **changes: str | None) -> str:
    query = address.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return f"?{query.urlencode()}" if query else "?"


def _file(
    request: SignedInRequest, entries: AuditQuerySet, kind: str, *, name: str, people: UserQuerySet
) -> StreamingHttpResponse:
    matching = _query(request, entries, people).matching(entries)
    return table_file(kind, name=name, columns=COLUMNS, rows=_file_rows(matching))


def _file_rows(entries: AuditQuerySet) -> Iterator[tuple[object, ...]]:
    for entry in entries.select_related("workspace").iterator(chunk_size=AT_ONCE):
        yield (
            entry.at,
            entry.who,
            entry.token,
            entry.label,
            entry.verb,
            entry.kind,
            entry.workspace.slug if entry.workspace else "",
            entry.subject,
            entry.details or None,
            entry.address,
            entry.via,
        )
