"""Share links: the form of a new one, and the rows of lists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from experiments import database_clock
from experiments.models import Dashboard, Experiment, Invalid, Refused, ShareLink, User
from experiments.models.dashboards.share_link import MAX_NAME
from experiments.permissions import may_revoke_link
from experiments.web.experiment.page import url_of
from experiments.web.ui.requests import SignedInRequest

MOST = 200  # rows of the list
DAYS = (("1", "in 1 day"), ("7", "in 7 days"), ("30", "in 30 days"), ("90", "in 90 days"))


class LinkForm(forms.Form):
    """A new link: for whom, and until when."""

    name = forms.CharField(
        required=False,
        max_length=MAX_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "Who is it for?"}),
    )
    days = forms.ChoiceField(
        label="Expires", choices=[*DAYS, ("date", "on a date")], initial="7", required=False
    )
    until = forms.DateField(
        required=False,
        label="Last day",
        help_text="For “on a date”",
        widget=forms.DateInput(attrs={"type": "date"}),
        error_messages={"invalid": "Enter a date such as 2026-12-24."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("days") == "date" and not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", "Select the last day of the link.")
        return cleaned

    def end(self, now: datetime) -> datetime:
        """Return when the link ends: a day is included."""
        days, until = self.cleaned_data["days"] or "7", self.cleaned_data["until"]
        if days != "date":
            return now + timedelta(days=int(days))
        zone = timezone.get_current_timezone()
        return datetime(until.year, until.month, until.day, tzinfo=zone) + timedelta(days=1)

    def create(self, target: Dashboard | Experiment, request: SignedInRequest) -> str:
        """Create the link and return its URL, or "" with the errors in the form."""
        try:
            end = self.end(database_clock.now())
            _, secret = ShareLink.create(target, by=request.user, name=self.cleaned_data["name"], until=end)
        except (Invalid, OverflowError) as fault:
            errors = fault.errors if isinstance(fault, Invalid) else {"until": ["Select an earlier day."]}
            for name, sentences in errors.items():
                self.add_error(name, " ".join(sentences))
        except Refused as refusal:
            self.add_error(None, str(refusal))
        else:
            return request.build_absolute_uri(reverse("shared", args=[secret]))
        return ""


@dataclass(frozen=True)
class LinkRow:
    """A link in a list. `target` is "" if the reader may not see what it shows."""

    link: ShareLink
    state: str  # "", Expired, Revoked, or why it does not work
    target: str
    url: str
    may_revoke: bool


def rows_of(user: User, links: QuerySet[ShareLink], now: datetime) -> list[LinkRow]:
    """Return the newest links as rows for this user. Two queries for any number."""
    rows = list(links.select_related("workspace", "created_by", "dashboard", "experiment__workspace")[:MOST])
    keys = [link.experiment_id for link in rows if link.experiment_id]
    seen = (
        set(Experiment.objects.visible_to(user).filter(pk__in=keys).values_list("pk", flat=True))
        if keys
        else set()
    )
    return [_row(link, user, seen, now) for link in rows]


def _row(link: ShareLink, user: User, seen: set[int], now: datetime) -> LinkRow:
    target = url = ""
    slug = link.workspace.slug
    if link.dashboard and (link.dashboard.is_shared or link.dashboard.owner_id == user.pk):
        target, url = link.dashboard.name, reverse("dashboard", args=[slug, link.dashboard.pk])
    elif link.experiment and link.experiment_id in seen:
        target, url = link.experiment.name, url_of(link.experiment)
    state = "Revoked" if link.revoked_at else "Expired" if link.is_expired(now) else ""
    return LinkRow(link, state, target, url, not state and may_revoke_link(user, link))
