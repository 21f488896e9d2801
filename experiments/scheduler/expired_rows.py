"""Delete expired rows in small steps: the trash after 30 days, old responses, deliveries and audit entries."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from experiments import database_clock
from experiments.models import (
    Answer,
    Artifact,
    Attempts,
    AuditEntry,
    Delivery,
    Experiment,
    FormerExperiment,
    HistoryImport,
    Keeping,
    Model,
    Occurrence,
    SeenCause,
    Trial,
    UserSession,
)
from experiments.models.idempotency import KEPT_FOR as ANSWERS_KEPT_FOR
from experiments.models.notifications.delivery import KEPT_FOR as DELIVERIES_KEPT_FOR
from experiments.models.notifications.seen_cause import REMEMBERED_FOR
from experiments.models.workspace.retention import TRASH_KEPT_FOR

PATIENCE = timedelta(
    days=7
)  # for workers to delete stored files first; after that the destination keeps them
MOST_NOTIFICATIONS = 500
MOST_ENTRIES = 1000  # of the audit log
AT_ONCE = 50  # trials per transaction: each may have 100,000 points, and other writers wait


def purge(now: datetime | None = None) -> bool:
    """Delete a portion of the expired rows: experiments and reset trials that have been in the trash for
    `TRASH_KEPT_FOR`, old responses to idempotency keys, notifications older than 30 days, old entries of the audit
    log, and expired sessions. Return True if there is more. The workers delete the files in data folders and
    destinations (worker/output/artifacts.py)."""
    now = now or database_clock.now()
    Answer.objects.filter(created_at__lt=now - ANSWERS_KEPT_FOR).delete()
    HistoryImport.abandon(now)
    if _delete_notifications(now):
        return True
    before_audit = now - timedelta(days=settings.AUDIT_DAYS)
    if AuditEntry.objects.delete_before(before_audit, at_most=MOST_ENTRIES) == MOST_ENTRIES:
        return True
    before = now - TRASH_KEPT_FOR
    due = Experiment.everything.filter(trashed_at__lt=before)
    expired = _without_files(due, "experiment", before).order_by("trashed_at").first()
    if expired:
        _delete_some(expired, before)
        return True
    for experiment in Experiment.everything.filter(epoch__gt=0):
        trashed = Trial.everything.filter(trashed_at__lt=before)
        if _delete_trials(experiment, _without_files(trashed, "trial", before)):
            return True
    Session.objects.filter(expire_date__lt=now).delete()
    UserSession.delete_expired(now)
    Attempts.delete_expired(now)
    return False


def _delete_notifications(now: datetime) -> bool:
    """Delete up to `MOST_NOTIFICATIONS` old deliveries, occurrences and causes each. Return whether there may be
    more."""
    count = 0
    for rows in (
        Delivery.objects.filter(created_at__lt=now - DELIVERIES_KEPT_FOR),
        Occurrence.objects.filter(at__lt=now - DELIVERIES_KEPT_FOR).exclude(expanded_at=None),
        SeenCause.objects.filter(last_at__lt=now - REMEMBERED_FOR),
    ):
        keys = list(rows.order_by().values_list("pk", flat=True)[:MOST_NOTIFICATIONS])
        rows.model.objects.filter(pk__in=keys).delete()
        count = max(count, len(keys))
    return count == MOST_NOTIFICATIONS


def _without_files(rows: QuerySet, owner: str, before: datetime) -> QuerySet:
    """Exclude experiments whose files on a worker's machine are the only copy of a model, and, for a limited time,
    those with files that the workers still have to delete from a destination."""
    files = Artifact.objects.filter(**{owner: OuterRef("pk")})
    needed = files.filter(keeping__in=(Keeping.LOCAL, Keeping.WAITING), models__isnull=False)
    to_delete = files.filter(keeping=Keeping.STORED, models=None)
    return rows.exclude(Exists(needed)).exclude(Exists(to_delete), trashed_at__gte=before - PATIENCE)


def _delete_some(experiment: Experiment, before: datetime) -> None:
    """Delete the trials of an expired experiment, then the experiment."""
    if _delete_trials(experiment, Trial.everything.all(), expired_before=before):
        return
    with transaction.atomic():
        if not _is_expired(experiment, before):
            return
        experiment.suggestions.all().delete()
        Experiment.everything.filter(pk=experiment.pk).update(revision=None)  # it protects its revision
        FormerExperiment.objects.get_or_create(public_id=experiment.public_id)
        experiment.delete()


def _delete_trials(
    experiment: Experiment, trials: QuerySet[Trial], *, expired_before: datetime | None = None
) -> bool:
    """Delete up to `AT_ONCE` of these trials. Return False if there are none."""
    with transaction.atomic():
        if expired_before and not _is_expired(experiment, expired_before):
            return True
        keys = list(trials.filter(experiment=experiment).values_list("pk", flat=True)[:AT_ONCE])
        _keep_addresses(keys)
        Trial.everything.filter(pk__in=keys).delete()
    return bool(keys)


def _keep_addresses(trials: list[int]) -> None:
    """Keep the models of these trials: store the addresses of their files."""
    models = Model.objects.filter(artifact__trial__in=trials, artifact__keeping=Keeping.STORED)
    for model in models.select_related("artifact__trial", "artifact__experiment"):
        if model.artifact:
            model.address = model.artifact.address
            model.save(update_fields=["address"])


def _is_expired(experiment: Experiment, before: datetime) -> bool:
    """Return whether the locked experiment is still expired: an owner may have restored it."""
    rows = Experiment.everything.select_for_update().filter(pk=experiment.pk, trashed_at__lt=before)
    return rows.first() is not None
