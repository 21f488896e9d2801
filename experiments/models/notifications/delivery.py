"""Deliveries: one row for each occurrence, rule and channel, with its status."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Self

from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import ExactJSONField, StampField
from experiments.models.status import Refused
from experiments.models.workspace.workspace import Workspace

from .channel import Channel, ChannelKind
from .occurrence import Occurrence
from .rule import Frequency, Rule

KEPT_FOR = timedelta(days=30)
RETRIES_S = (30, 300, 1800, 7200, 14400)  # pauses between attempts
MOST_ATTEMPTS = len(RETRIES_S) + 1
SUMMARY = "summary"  # kind of a message that contains others
MOST_IN_SUMMARY = 100
CLAIM_S = 300.0  # an attempt whose process ended is repeated after so many seconds


class DeliveryStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    SENT = "sent", "Delivered"
    FAILED = "failed", "Failed"
    CANCELED = "canceled", "Canceled"
    MERGED = "merged", "In a summary"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def visible_to(self, user: User, workspace: Workspace, *, is_owner: bool) -> Self:
        """Return the messages of a person and, for owners, those of the workspace, except messages about experiments
        that the person can no longer see."""
        whose = Q(channel__owner=user) | (Q(channel__owner=None) if is_owner else Q(pk=None))
        visible = Experiment.everything.visible_to(user).filter(pk=OuterRef("experiment"))
        return self.filter(whose, Q(experiment=None) | Exists(visible), channel__workspace=workspace)

    def due(self, now: datetime) -> Self:
        return self.filter(status=DeliveryStatus.QUEUED, next_at__lte=now)

    def to_merge(self, now: datetime) -> Self:
        """Messages that waited until now for a summary."""
        return self.due(now).filter(is_held=True)


class Delivery(models.Model):
    """A message to a channel. `subject` and `text` are for people, `payload` is the document for webhooks. A message
    that `is_held` waits until `next_at`, to be sent in a summary; a summary is a message whose content are its `parts`,
    as far as its receiver may see them when it is sent."""

    channel = models.ForeignKey(Channel, models.CASCADE, related_name="deliveries")
    rule = models.ForeignKey(Rule, models.SET_NULL, null=True, related_name="deliveries")
    occurrence = models.ForeignKey(Occurrence, models.SET_NULL, null=True, related_name="deliveries")
    experiment = models.ForeignKey(Experiment, models.CASCADE, null=True, related_name="+")
    message_id = models.UUIDField(default=uuid.uuid4, unique=True)  # the same in every attempt
    kind = models.CharField(max_length=16)  # of the occurrence, or test, or summary
    is_held = models.BooleanField(default=False)
    summary = models.ForeignKey("self", models.SET_NULL, null=True, related_name="parts")
    subject = models.CharField(max_length=300)
    text = models.TextField()
    payload = ExactJSONField(default=dict)
    value = models.FloatField(null=True)  # of the occurrence

    status = models.CharField(max_length=8, choices=DeliveryStatus.choices, default=DeliveryStatus.QUEUED)
    attempts = models.IntegerField(default=0)
    error = models.TextField(blank=True)  # of the last attempt
    tries = ExactJSONField(default=list)  # [[ISO time, result], …]
    created_at = StampField()
    next_at = StampField(null=True)  # of the next attempt
    sent_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True)  # of a browser channel: when its person opened the page

    messages: Sequence[Delivery] = ()  # of a summary that is being sent: its parts

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["occurrence", "rule", "channel"], name="delivery_once"),
        ]
        indexes = [
            models.Index(fields=["status", "next_at"], name="delivery_due"),
            models.Index(fields=["channel", "-id"], name="delivery_of_channel"),
            models.Index(fields=["rule", "experiment", "-id"], name="delivery_of_rule"),
            models.Index(fields=["created_at"], name="delivery_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} to {self.channel_id}: {self.status}"

    @property
    def label(self) -> str:
        """Its status for people."""
        if self.status == DeliveryStatus.QUEUED and (self.attempts or self.is_held):
            return "Held" if self.is_held else "Retrying"
        return DeliveryStatus(self.status).label

    @classmethod
    def test(cls, channel: Channel, *, by: User, rule: Rule | None = None) -> Delivery:
        """Queue a test message. Raise `Refused` while many wait."""
        if cls.objects.filter(channel=channel, kind="test", status=DeliveryStatus.QUEUED).count() >= 3:
            raise Refused("Three test messages are already waiting for this channel.")
        about = f" for the rule “{rule.title}”" if rule else ""
        return cls.objects.create(
            channel=channel,
            rule=rule,
            kind="test",
            subject=f"Test message from {channel.workspace}",
            text=f"{by.username} sent this test message{about}. The channel {channel} works.",
            payload={"event": "test", "workspace": channel.workspace.slug, "by": by.username},
        )

    @classmethod
    def merge(cls, channel_pk: int, now: datetime) -> None:
        """Put the held messages of a channel that are due into one summary. A single one is sent as it is."""
        with transaction.atomic():
            due = cls.objects.to_merge(now).filter(channel=channel_pk).order_by("pk")
            keys = list(due.select_for_update().values_list("pk", flat=True)[:MOST_IN_SUMMARY])
            rows = cls.objects.filter(pk__in=keys)
            if len(keys) < 2:
                rows.update(is_held=False)
                return
            channel = Channel.objects.select_related("workspace").get(pk=channel_pk)
            subject = f"{len(keys)} notifications from {channel.workspace}"
            summary = cls.objects.create(channel=channel, kind=SUMMARY, subject=subject, next_at=now)
            rows.update(status=DeliveryStatus.MERGED, summary=summary, is_held=False, next_at=None)

    @classmethod
    def release(cls, user: User, now: datetime) -> None:
        """Let the messages that the quiet hours of a person hold be sent, because these hours were changed. Those of
        daily summaries stay."""
        held = cls.objects.filter(channel__owner=user, status=DeliveryStatus.QUEUED, is_held=True)
        held.exclude(rule__frequency=Frequency.DAILY).update(next_at=now)

    def claim(self, now: datetime) -> bool:
        """Begin an attempt. Return True for the one process that may send it."""
        claimed = Delivery.objects.due(now).filter(pk=self.pk, attempts=self.attempts)
        until = now + timedelta(seconds=CLAIM_S)
        if not claimed.update(attempts=F("attempts") + 1, next_at=until):
            return False
        self.attempts += 1
        self.next_at = until
        return True

    def succeed(self, answer: str, now: datetime) -> None:
        """Note that it was delivered."""
        self._close(DeliveryStatus.SENT, answer, now, error="", sent_at=now)

    def fail(self, error: str, now: datetime, *, is_final: bool = False) -> None:
        """Note that the attempt failed. The next one follows after a longer pause, up to `MOST_ATTEMPTS`."""
        if is_final or self.attempts >= MOST_ATTEMPTS:
            self._close(DeliveryStatus.FAILED, error, now, error=error)
            return
        pause = timedelta(seconds=RETRIES_S[max(0, self.attempts - 1)])
        self._close(DeliveryStatus.QUEUED, error, now, error=error, next_at=now + pause)

    def cancel(self, why: str, now: datetime) -> None:
        """Note that it must not be delivered. Its text is deleted: its receiver may not see it."""
        self._close(DeliveryStatus.CANCELED, why, now, error=why, text="", subject="Canceled", payload={})

    def send_again(self, now: datetime | None = None) -> None:
        """Try it again now. Raise `Refused` for one that was delivered or canceled."""
        if self.status not in (DeliveryStatus.FAILED, DeliveryStatus.QUEUED):
            raise Refused(f"The message was {self.label.lower()}. Only failed messages can be sent again.")
        again = Delivery.objects.filter(pk=self.pk, status=self.status, attempts=self.attempts)
        attempts = 0 if self.status == DeliveryStatus.FAILED else self.attempts
        again.update(
            status=DeliveryStatus.QUEUED,
            attempts=attempts,
            is_held=False,
            next_at=now or database_clock.now(),
        )

    @classmethod
    def unseen_by(cls, user: User) -> models.QuerySet[Delivery]:
        """Messages of the person's browser channels that no page has shown."""
        visible = Experiment.everything.visible_to(user).filter(pk=OuterRef("experiment"))
        return cls.objects.filter(
            Q(experiment=None) | Exists(visible),
            channel__owner=user,
            channel__kind=ChannelKind.BROWSER,
            status=DeliveryStatus.SENT,
            seen_at=None,
        )

    def _close(self, status: str, note: str, now: datetime, **changes: object) -> None:
        tries = [*self.tries, [now.isoformat(timespec="seconds"), note[:300]]][-2 * MOST_ATTEMPTS :]
        changes = {"next_at": None, **changes, "status": status, "tries": tries}
        # Only the attempt that was claimed: "Retry now" may have begun another one meanwhile.
        Delivery.objects.filter(pk=self.pk, attempts=self.attempts).update(**changes)
        for name, value in changes.items():
            setattr(self, name, value)
