"""The query parameters of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.db.models import Q
from django.http import QueryDict

from experiments.models import AuditEntry
from experiments.models.audit.entry import AuditQuerySet
from experiments.models.audit.verbs import KINDS, VERBS
from experiments.query_parameters import Parameter, choice, number, text

SEARCHED = 10_000  # entries whose text is searched
SYSTEM = "-"  # in place of a person


def date_of(value: str) -> date | None:
    """Return the date of `2026-11-29`, else None."""
    try:
        return date.fromisoformat(value) if len(value) == 10 else None
    except ValueError:
        return None


def _date() -> Parameter:
    return Parameter(lambda value: "" if date_of(value) else "a date such as 2026-11-29")


FILTERS: dict[str, Parameter] = {
    "q": text(200),
    "who": text(150),
    "what": choice(*KINDS),
    "from": _date(),
    "to": _date(),
}
PARAMETERS = {**FILTERS, "before": number(1)}


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The filters in the URL. Invalid values count as not set; the page says so."""

    q: str = ""
    who: str = ""
    what: str = ""
    since: date | None = None
    until: date | None = None

    @classmethod
    def of(cls, query: QueryDict) -> AuditQuery:
        values = {name: query.get(name, "").replace("\0", "").strip() for name in FILTERS}
        return cls(
            q=values["q"],
            who=values["who"],
            what=values["what"] if values["what"] in KINDS else "",
            since=date_of(values["from"]),
            until=date_of(values["to"]),
        )

    @property
    def is_filtered(self) -> bool:
        return self != AuditQuery()

    def matching(self, entries: AuditQuerySet) -> AuditQuerySet:
        """Return the matching entries, newest first. Text is searched in the latest 10,000 entries."""
        if self.who:
            entries = entries.filter(by=None, who="") if self.who == SYSTEM else entries.filter(who=self.who)
        if self.what:
            entries = entries.filter(kind=self.what)
        if self.since:
            entries = entries.filter(at__date__gte=self.since)
        if self.until:
            entries = entries.filter(at__date__lte=self.until)
        if self.q:
            newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True)
            first = next(iter(newest[SEARCHED : SEARCHED + 1]), 0)
            entries = entries.filter(_contains(self.q), pk__gt=first)
        return entries.order_by("-pk")


def _contains(text: str) -> Q:
    labels = [verb for verb, (label, _) in VERBS.items() if text.casefold() in label.casefold()]
    columns = ("subject", "who", "token", "address", "details")
    condition = Q(verb__in=labels)
    for column in columns:
        condition |= Q(**{f"{column}__icontains": text})
    return condition
