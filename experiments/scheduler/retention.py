"""Retention: deletes for good, in small portions, what has been in the trash for its time."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from experiments.models import Answer, Artifact, Experiment, Keeping, Model, Trial
from experiments.models.idempotency import KEPT_FOR as ANSWERS_KEPT_FOR

KEPT_FOR = timedelta(days=30)
PATIENCE = timedelta(
    days=7
)  # for workers that have to delete stored files first; then the destination keeps them
AT_ONCE = 50  # trials in one transaction: each may have a hundred thousand points, and others want to write


def purge(now: datetime | None = None) -> bool:
    """Deletes some of what went to the trash more than `KEPT_FOR` ago: experiments, and trials that a reset put
    there; old answers to idempotency keys; sessions that are over. True: there is more. Rows only: the workers delete
    what is in data folders and destinations (collect.py)."""
    now = now or timezone.now()
    Answer.objects.filter(created_at__lt=now - ANSWERS_KEPT_FOR).delete()
    before = now - KEPT_FOR
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
    return False


def _without_files(rows: QuerySet, owner: str, before: datetime) -> QuerySet:
    """Those without a model whose only file lies with them on a worker's machine, and, for as long as it is worth
    waiting for, without files that the workers have yet to delete from a destination."""
    files = Artifact.objects.filter(**{owner: OuterRef("pk")})
    needed = files.filter(keeping__in=(Keeping.LOCAL, Keeping.WAITING), models__isnull=False)
    to_delete = files.filter(keeping=Keeping.STORED, models=None)
    return rows.exclude(Exists(needed)).exclude(Exists(to_delete), trashed_at__gte=before - PATIENCE)


def _delete_some(experiment: Experiment, before: datetime) -> None:
    """Of an expired experiment first the trials, then the rest."""
    if _delete_trials(experiment, Trial.everything.all(), expired_before=before):
        return
    with transaction.atomic():
        if not _is_expired(experiment, before):
            return
        experiment.suggestions.all().delete()
        Experiment.everything.filter(pk=experiment.pk).update(revision=None)  # it protects its revision
        experiment.delete()


def _delete_trials(
    experiment: Experiment, trials: QuerySet[Trial], *, expired_before: datetime | None = None
) -> bool:
    """Deletes up to `AT_ONCE` of these trials. False: there are none."""
    with transaction.atomic():
        if expired_before and not _is_expired(experiment, expired_before):
            return True
        keys = list(trials.filter(experiment=experiment).values_list("pk", flat=True)[:AT_ONCE])
        _keep_addresses(keys)
        Trial.everything.filter(pk__in=keys).delete()
    return bool(keys)


def _keep_addresses(trials: list[int]) -> None:
    """A model outlives the trial that made it: it remembers where its file is stored."""
    models = Model.objects.filter(artifact__trial__in=trials, artifact__keeping=Keeping.STORED)
    for model in models.select_related("artifact__trial", "artifact__experiment"):
        if model.artifact:
            model.address = model.artifact.address
            model.save(update_fields=["address"])


def _is_expired(experiment: Experiment, before: datetime) -> bool:
    """Still? An owner may restore it at the last moment; the lock keeps them out from here on."""
    rows = Experiment.everything.select_for_update().filter(pk=experiment.pk, trashed_at__lt=before)
    return rows.first() is not None
