"""Create the deliveries of an occurrence: one per channel of each matching rule."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models import (
    Channel,
    ChannelKind,
    Delivery,
    DeliveryStatus,
    Experiment,
    Frequency,
    Kind,
    Occurrence,
    Queue,
    Rule,
    User,
    Workspace,
)
from experiments.models.notifications import hold
from experiments.timetable.cron import next_after

from . import content
from .selection import selections

logger = logging.getLogger(__name__)

AT_ONCE = 100  # occurrences of one call
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)
MOST_REPLAYED = 5000  # occurrences of a week that a preview looks at


def expand(now: datetime | None = None) -> int:
    """Create the messages of up to `AT_ONCE` new occurrences, oldest first. Return the number of occurrences.

    Each is marked in the same transaction: after an interruption it is done again as a whole, and none is done twice.
    """
    now = now or database_clock.now()
    waiting = Occurrence.objects.filter(expanded_at=None).order_by("pk").values_list("pk", flat=True)
    keys = list(waiting[:AT_ONCE])
    for key in keys:
        try:
            with transaction.atomic():
                if not Occurrence.objects.filter(pk=key, expanded_at=None).update(expanded_at=now):
                    continue  # another control process was faster, or the experiment was deleted
                _expand(Occurrence.objects.select_related("experiment__workspace").get(pk=key))
        except DatabaseError:
            raise
        except Exception:  # after a bug here later ones must still become messages
            logger.exception("No messages could be made of occurrence %s", key)
            Occurrence.objects.filter(pk=key).update(expanded_at=now)
    return len(keys)


def may_see(rule: Rule, experiment: Experiment | None, queues: Collection[str]) -> bool:
    """Return whether the receiver of a rule's messages may now know of something that happened to an experiment, or
    else to a worker of these queues. Without a receiver, it is anyone who reads a channel of the workspace. Nobody is
    notified about experiments in the trash."""
    workspace, receiver = rule.workspace, rule.receiver()
    if receiver is not None:
        visible = Workspace.objects.visible_to(receiver).filter(pk=workspace.pk)
        if not receiver.is_active or not visible.exists():
            return False
        if experiment is not None:
            return Experiment.objects.visible_to(receiver).filter(pk=experiment.pk).exists()
    elif experiment is not None:
        return Experiment.objects.filter(
            pk=experiment.pk, visibility="workspace", workspace=workspace
        ).exists()
    if not queues:  # the occurrence is about the workspace itself
        return True
    return "default" in queues or Queue.objects.granted_to(workspace).filter(name__in=queues).exists()


@dataclass
class Replay:
    """What a rule would have sent: the times of its messages, and how many more were merged into an earlier one."""

    fired: list[datetime] = field(default_factory=list)
    merged: int = 0


class Week:
    """The occurrences of the last seven days that a person may see, for previews of rules. Three queries; `of_each`
    needs at most two, so that a page has a fixed number."""

    def __init__(self, workspace: Workspace, user: User, now: datetime | None = None) -> None:
        self.now = now or database_clock.now()
        since = self.now - WEEK
        visible = Experiment.objects.visible_to(user).filter(workspace=workspace)
        rows = Occurrence.objects.filter(
            Q(experiment__in=visible) | Q(experiment=None), workspace=workspace, at__gte=since
        )
        self._occurrences = _with_experiment(rows)
        granted = {"default", *Queue.objects.granted_to(workspace).values_list("name", flat=True)}
        lost = Occurrence.objects.filter(kind=Kind.WORKER_LOST, workspace=None, at__gte=since)
        self._occurrences += [row for row in _with_experiment(lost) if granted & {*row.details["queues"]}]

    def of(self, rule: Rule) -> Replay:
        """Return what this rule, saved or not, would have sent."""
        return self.of_each([rule])[0]

    def of_each(self, rules: Sequence[Rule]) -> list[Replay]:
        """Return what each of these rules would have sent."""
        keys = {row.experiment_id for row in self._occurrences if row.experiment_id is not None}
        selected = selections(rules, keys)
        return [self._replay(rule, keys) for rule, keys in zip(rules, selected, strict=True)]

    def _replay(self, rule: Rule, selected: Collection[int]) -> Replay:
        replay = Replay()
        last: dict[int | None, datetime] = {}
        references: dict[int | None, float | None] = {}
        zone_name = hold.zone_name_of(rule.owner)
        for occurrence in self._occurrences:
            key = occurrence.experiment_id
            if not rule.is_about(occurrence, selected):
                continue
            references.setdefault(key, occurrence.previous)
            if not rule.reaches(occurrence, references[key]):
                continue
            if rule.frequency == Frequency.HOURLY and key in last and occurrence.at - last[key] < HOUR:
                replay.merged += 1
                continue
            last[key], references[key] = occurrence.at, occurrence.value
            if rule.frequency == Frequency.DAILY:
                summary_at = next_after(hold.DAILY_AT, zone_name, occurrence.at)
                if replay.fired[-1:] == [summary_at]:
                    replay.merged += 1
                elif summary_at <= self.now:
                    replay.fired.append(summary_at)
                continue
            replay.fired.append(occurrence.at)
        return replay


def _with_experiment(rows: Iterable[Occurrence]) -> list[Occurrence]:
    columns = ("public_id", "name", "workspace", "project", "creator", "tags", "visibility")
    newest = rows.select_related("experiment").only(  # type: ignore[attr-defined]
        "kind", "at", "value", "previous", "details", *(f"experiment__{name}" for name in columns)
    )
    return sorted(newest.order_by("-pk")[:MOST_REPLAYED], key=lambda row: row.pk)


def _expand(occurrence: Occurrence) -> None:
    rules = Rule.objects.filter(kind=occurrence.kind, is_on=True, channels__isnull=False).distinct()
    if occurrence.workspace_id is not None:
        rules = rules.filter(workspace=occurrence.workspace_id)
    related = rules.select_related("workspace", "owner", "view__owner").prefetch_related("channels")
    in_order = list(related.order_by("pk"))
    keys = () if occurrence.experiment_id is None else (occurrence.experiment_id,)
    for rule, selected in zip(in_order, selections(in_order, keys), strict=True):
        queues = occurrence.details.get("queues", [])
        is_wanted = rule.is_about(occurrence, selected) and may_see(rule, occurrence.experiment, queues)
        if is_wanted and _is_due(rule, occurrence):
            _queue(rule, occurrence)


def _is_due(rule: Rule, occurrence: Occurrence) -> bool:
    """Return whether the threshold is reached, and this rule's last message about the experiment is old enough."""
    sent = Delivery.objects.filter(rule=rule, experiment=occurrence.experiment).exclude(kind="test")
    if occurrence.experiment is None:
        sent = sent.filter(occurrence__details=occurrence.details)
    last = sent.order_by("-pk").values_list("occurrence__at", "value").first()
    reference = last[1] if last else _first_best(rule, occurrence)
    if not rule.reaches(occurrence, reference):
        return False
    is_recent = last is not None and occurrence.at - last[0] < HOUR
    return not (rule.frequency == Frequency.HOURLY and is_recent)


def _first_best(rule: Rule, occurrence: Occurrence) -> float | None:
    """Return the best value when the rule was created, or when the experiment's first result was improved: small steps
    add up from there."""
    if occurrence.kind != Kind.NEW_BEST:
        return None
    steps = Occurrence.objects.filter(
        experiment=occurrence.experiment, kind=Kind.NEW_BEST, at__gte=rule.created_at
    )
    return steps.order_by("pk").values_list("previous", flat=True).first()


def _queue(rule: Rule, occurrence: Occurrence) -> None:
    now = database_clock.now()
    Delivery.objects.bulk_create(
        [
            Delivery(
                channel=channel,
                rule=rule,
                occurrence=occurrence,
                experiment=occurrence.experiment,
                kind=occurrence.kind,
                subject=content.subject(occurrence),
                text=content.text(occurrence),
                payload=content.payload(occurrence),
                value=occurrence.value,
                **_shown_at_once(now) if channel.kind == ChannelKind.BROWSER else _held(rule, channel, now),
            )
            for channel in rule.channels.select_related("owner")
        ],
        ignore_conflicts=True,
    )


def _held(rule: Rule, channel: Channel, now: datetime) -> dict[str, object]:
    """Return the columns of a message that waits for a summary."""
    until = hold.held_until(rule, channel, now, is_daily=rule.frequency == Frequency.DAILY)
    return {"next_at": now} if until is None else {"next_at": until, "is_held": True}


def _shown_at_once(now: datetime) -> dict[str, object]:
    """Return the initial columns of a browser message, which needs no delivery: open pages fetch it."""
    return {"status": DeliveryStatus.SENT, "attempts": 1, "next_at": None, "sent_at": now}
