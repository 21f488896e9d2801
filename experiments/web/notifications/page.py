"""The page Notifications: rules and channels of a person and of the workspace, and all deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from experiments.models import (
    Channel,
    ChannelKind,
    Delivery,
    DeliveryStatus,
    Kind,
    Rule,
    User,
    Workspace,
)
from experiments.models.notifications.delivery import MOST_ATTEMPTS, SUMMARY
from experiments.permissions import may
from experiments.query_parameters import choice, number
from experiments.scheduler.notifications.fan_out import Replay, Week
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .forms import ChannelForm, QuietHoursForm, RuleForm

SIZE = 50  # deliveries of a page
ICONS = {
    ChannelKind.EMAIL: "mail",
    ChannelKind.WEBHOOK: "link",
    ChannelKind.SLACK: "chat",
    ChannelKind.BROWSER: "bell",
}
LABELS = {"test": "Test message", SUMMARY: "Summary"}
# (word in the URL, label, glyph, condition)
RESULTS = (
    ("", "All", "", Q()),
    ("sent", "Delivered", "succeeded", Q(status=DeliveryStatus.SENT)),
    ("held", "Held", "waiting", Q(status=DeliveryStatus.QUEUED, is_held=True)),
    ("retrying", "Retrying", "warning", Q(status=DeliveryStatus.QUEUED, is_held=False)),
    ("failed", "Failed", "failed", Q(status__in=(DeliveryStatus.FAILED, DeliveryStatus.CANCELED))),
)


@dataclass(frozen=True)
class Day:
    """A day of the preview: its name, and the number of messages that would have been sent."""

    date: date
    count: int


@dataclass(frozen=True)
class Preview:
    """What a rule would have sent in the last seven days."""

    count: int
    merged: int
    last: datetime | None
    days: list[Day]

    @classmethod
    def of(cls, replay: Replay) -> Preview:
        today = timezone.localdate()
        dates = [timezone.localtime(moment).date() for moment in replay.fired]
        days = [today - timedelta(days=back) for back in range(6, -1, -1)]
        return cls(
            len(dates),
            replay.merged,
            replay.fired[-1] if replay.fired else None,
            [Day(day, dates.count(day)) for day in days],
        )


@dataclass(frozen=True)
class Via:
    """A channel, shown as a tag."""

    channel: Channel
    icon: str


@dataclass(frozen=True)
class RuleRow:
    rule: Rule
    channels: list[Via]
    preview: Preview
    may_change: bool


@dataclass(frozen=True)
class ChannelCard:
    channel: Channel
    icon: str
    state: str  # the state of its last message
    glyph: str
    last_at: datetime | None
    error: str
    may_change: bool


@dataclass(frozen=True)
class Attempt:
    at: datetime | None
    text: str
    status: str


@dataclass(frozen=True)
class DeliveryRow:
    delivery: Delivery
    label: str
    via: Via
    status: str
    attempts: list[Attempt]
    may_send: bool


@dataclass(frozen=True)
class ResultChip:
    word: str
    label: str
    glyph: str
    count: int
    is_current: bool


@dataclass
class Editor:
    """The form in the side panel: of a new or saved rule or channel."""

    rule_form: RuleForm | None = None
    rule: Rule | None = None
    channel_form: ChannelForm | None = None
    quiet_form: QuietHoursForm | None = None
    channel: Channel | None = None
    preview: Preview | None = None
    is_for_workspace: bool = False
    secret: str = ""
    status: int = 200
    context: dict[str, Any] = field(default_factory=dict)


@login_required
@require_safe
@takes(result=choice(*(word for word, *_ in RESULTS if word)), before=number(1))
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Show rules, channels and deliveries, in a fixed number of queries."""
    return draw(request, get_workspace(request, workspace_slug))


def draw(request: SignedInRequest, workspace: Workspace, editor: Editor | None = None) -> HttpResponse:
    """Render the page, with a form beside it."""
    editor = editor or Editor()
    user, is_owner = request.user, may(request.user, "manage", workspace)
    week = editor.context.get("week") or Week(workspace, user)
    rules = list(rules_of(workspace, user))
    rows = [
        _rule_row(rule, replay, may_change=is_owner or rule.owner_id is not None)
        for rule, replay in zip(rules, week.of_each(rules), strict=True)
    ]
    channels = _with_last(channels_of(workspace, user, is_owner=is_owner))
    cards = [_card(channel, may_change=is_owner or channel.owner_id is not None) for channel in channels]
    shown, chips, older = _deliveries(request, workspace, is_owner=is_owner)
    context = {
        "workspace": workspace,
        "nav": "notifications",
        "is_owner": is_owner,
        "my_rules": [row for row in rows if row.rule.owner_id],
        "workspace_rules": [row for row in rows if not row.rule.owner_id],
        "cards": cards,
        "rows": shown,
        "chips": chips,
        "older": older,
        "file_query": f"?result={result}" if (result := request.GET.get("result", "")) else "",
        "most_attempts": MOST_ATTEMPTS,
        "editor": editor,
        "quiet_form": editor.quiet_form or QuietHoursForm.of(user),
        "has_channels": any((channel.owner_id is None) == editor.is_for_workspace for channel in channels),
    }
    return render(request, "notifications/show.html", context, status=editor.status)


def rules_of(workspace: Workspace, user: User) -> QuerySet[Rule]:
    """Return a user's rules and the workspace's, with the related rows that their names need."""
    rules = Rule.objects.visible_to(user).filter(workspace=workspace)
    related = rules.select_related("owner", "experiment", "project", "view__owner")
    return related.prefetch_related("channels").order_by("pk")


def channels_of(workspace: Workspace, user: User, *, is_owner: bool) -> QuerySet[Channel]:
    """Return a user's channels, and for owners also the workspace's."""
    rows = Channel.objects.usable_by(workspace, user) if is_owner else Channel.objects.of(workspace, user)
    return rows.select_related("owner")


def _with_last(channels: QuerySet[Channel]) -> list[Channel]:
    last = Delivery.objects.filter(channel=OuterRef("pk")).order_by("-pk")
    names = ("status", "attempts", "error", "created_at")
    return list(channels.annotate(**{f"last_{name}": Subquery(last.values(name)[:1]) for name in names}))


def _rule_row(rule: Rule, replay: Replay, *, may_change: bool) -> RuleRow:
    via = [Via(channel, ICONS[ChannelKind(channel.kind)]) for channel in rule.channels.all()]
    return RuleRow(rule, via, Preview.of(replay), may_change)


def _card(channel: Any, *, may_change: bool) -> ChannelCard:
    states = {
        None: ("Not used yet", "pending"),
        DeliveryStatus.SENT: ("Working", "succeeded"),
        DeliveryStatus.QUEUED: ("Retrying", "warning") if channel.last_attempts else ("Queued", "pending"),
        DeliveryStatus.FAILED: ("Failed", "failed"),
        DeliveryStatus.CANCELED: ("Working", "succeeded"),
        DeliveryStatus.MERGED: ("Working", "succeeded"),
    }
    state, glyph = states[channel.last_status]
    icon = ICONS[ChannelKind(channel.kind)]
    error = channel.last_error or "" if state in ("Failed", "Retrying") else ""
    return ChannelCard(channel, icon, state, glyph, channel.last_created_at, error, may_change)


def _deliveries(
    request: SignedInRequest, workspace: Workspace, *, is_owner: bool
) -> tuple[list[DeliveryRow], list[ResultChip], str]:
    result_filter = request.GET.get("result", "")
    visible = Delivery.objects.visible_to(request.user, workspace, is_owner=is_owner)
    counts = visible.aggregate(
        **{f"of_{word}": Count("pk", filter=condition) for word, _, _, condition in RESULTS if word},
        of_=Count("pk"),
    )
    chips = [
        ResultChip(word, label, glyph, counts[f"of_{word}"], is_current=word == result_filter)
        for word, label, glyph, _ in RESULTS
    ]
    rows = visible.filter(
        next((condition for word, _, _, condition in RESULTS if word == result_filter), Q())
    )
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 16:
        rows = rows.filter(pk__lt=int(before))
    page = list(rows.select_related("channel", "rule").defer("text", "payload").order_by("-pk")[: SIZE + 1])
    query = f"result={result_filter}&" if result_filter else ""
    older = f"?{query}before={page[SIZE - 1].pk}#deliveries" if len(page) > SIZE else ""
    return [_delivery_row(delivery) for delivery in page[:SIZE]], chips, older


def _delivery_row(delivery: Delivery) -> DeliveryRow:
    label = LABELS.get(delivery.kind) or Kind(delivery.kind).label
    status = {
        DeliveryStatus.SENT: "succeeded",
        DeliveryStatus.FAILED: "failed",
        DeliveryStatus.CANCELED: "stopped",
    }.get(DeliveryStatus(delivery.status), "warning" if delivery.attempts else "waiting")
    attempts = [
        Attempt(parse_datetime(at), text, "succeeded" if is_last and status == "succeeded" else "failed")
        for at, text, is_last in _marked(delivery.tries)
    ]
    if delivery.next_at and delivery.attempts:
        attempts.append(Attempt(delivery.next_at, "next attempt", "waiting"))
    elif delivery.is_held:
        attempts.append(Attempt(delivery.next_at, "in a summary", "waiting"))
    is_short = status == "succeeded" and len(attempts) == 1
    is_open = delivery.status in (DeliveryStatus.FAILED, DeliveryStatus.QUEUED)
    may_send = is_open and bool(delivery.attempts or delivery.is_held)
    via = Via(delivery.channel, ICONS[ChannelKind(delivery.channel.kind)])
    return DeliveryRow(delivery, label, via, status, [] if is_short else attempts, may_send)


def _marked(tries: list[list[str]]) -> Iterable[tuple[str, str, bool]]:
    for place, (at, text) in enumerate(tries):
        yield at, text, place == len(tries) - 1
