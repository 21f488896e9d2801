"""Artifacts: the files that trials leave in their output folder."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models, transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models.account.user import User
from experiments.models.compute.worker import Worker
from experiments.models.event import Event
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.trial.model import Trial
from experiments.runner import destination as destinations

MOST_ARTIFACTS = 1000  # of one trial
LONGEST_NAME = 500
MOST_MOVED = 10_000  # files per request to store those that exist
RETRY_S = (5, 15, 60, 300)  # between two attempts to store it; the last one repeats


class Keeping(models.TextChoices):
    """Where an artifact is."""

    LOCAL = "local", "On the worker's machine"
    WAITING = "waiting", "Upload pending"
    STORED = "stored", "In the output destination"
    DROPPED = "dropped", "Not kept: its trial is not among the best"


class ArtifactQuerySet(models.QuerySet["Artifact"]):
    def due(self, worker: Worker, now: datetime) -> ArtifactQuerySet:
        """Return the artifacts that this worker has to store now, longest waiting first."""
        is_due = Q(retry_at=None) | Q(retry_at__lte=now)
        return self.filter(is_due, worker=worker, keeping=Keeping.WAITING).order_by("seen_at", "pk")

    def of(self, experiment: Experiment) -> ArtifactQuerySet:
        """Return the artifacts of the experiment that are kept, without those of trials in the trash."""
        return self.kept().filter(experiment=experiment, trial__trashed_at=None)

    def kept(self) -> ArtifactQuerySet:
        return self.exclude(keeping=Keeping.DROPPED)

    def not_stored(self) -> ArtifactQuerySet:
        """Return the artifacts that are only on their workers' machines, including pending uploads."""
        return self.filter(keeping__in=(Keeping.LOCAL, Keeping.WAITING))


class Artifact(models.Model):
    """One file of a trial's output folder: `name` is its path there, with slashes.

    `destination` is where it is stored; empty: only on the worker's machine. `sha256` is empty until it was computed.
    """

    trial = models.ForeignKey(Trial, models.CASCADE, related_name="artifacts", db_index=False)
    experiment = models.ForeignKey(Experiment, models.CASCADE, related_name="artifacts", db_index=False)
    worker = models.ForeignKey(Worker, models.SET_NULL, null=True, related_name="artifacts")
    name = models.CharField(max_length=LONGEST_NAME)
    size = models.BigIntegerField()
    changed_at = models.DateTimeField()  # the file, by its machine's clock
    sha256 = models.CharField(max_length=64, blank=True)
    keeping = models.CharField(max_length=7, choices=Keeping.choices)
    destination = models.CharField(max_length=1000, blank=True)
    fault = models.TextField(blank=True)  # why it could not be stored yet
    tries = models.IntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    seen_at = StampField()

    objects = ArtifactQuerySet.as_manager()

    class Meta:
        ordering = ["trial", "name"]
        constraints = [models.UniqueConstraint(fields=["trial", "name"], name="artifact_once")]
        indexes = [
            models.Index(fields=["experiment", "trial", "name"], name="artifact_by_experiment"),
            models.Index(fields=["experiment", "name", "trial"], name="artifact_by_name"),
            models.Index(fields=["worker"], condition=Q(keeping="waiting"), name="artifact_to_store"),
        ]

    def __str__(self) -> str:
        return f"{self.trial_id}: {self.name}"

    @property
    def key(self) -> str:
        """The name in the destination. Select `trial` and `experiment` with the row."""
        return f"{self.experiment.public_id}/{self.trial.number}/{self.name}"

    @property
    def address(self) -> str:
        """The URL or path in the destination, where it is or will be stored; empty without a destination."""
        return f"{self.destination.rstrip('/')}/{self.key}" if self.destination else ""

    @classmethod
    def see(cls, trial: Trial, worker: Worker, files: dict[str, tuple[int, datetime]], *, to: str) -> None:
        """Record the files that exist now, by name with size and modification time. Unchanged ones stay as they are."""
        stored_rows = {artifact.name: artifact for artifact in cls.objects.filter(trial=trial)}
        new, changed = [], []
        for name, (size, changed_at) in files.items():
            artifact = stored_rows.get(name)
            if artifact is None:
                artifact = cls(trial=trial, experiment_id=trial.experiment_id, name=name)
                new.append(artifact)
            elif (artifact.size, artifact.changed_at) != (size, changed_at):
                changed.append(artifact)
            else:
                continue
            artifact.worker, artifact.size, artifact.changed_at = worker, size, changed_at
            artifact.destination = to
            artifact.keeping = Keeping.WAITING if to else Keeping.LOCAL
            artifact.sha256, artifact.fault = "", ""
            artifact.tries, artifact.retry_at, artifact.seen_at = 0, None, database_clock.now()
        cls.objects.bulk_create(new, ignore_conflicts=True)
        cls.objects.bulk_update(
            changed, [*STATE_FIELDS, "worker", "size", "changed_at", "destination", "seen_at"]
        )

    @classmethod
    def store(cls, experiment: Experiment, destination: str, *, by: User | None) -> int:
        """Request the upload of the files that are only on their workers' machines, at most `MOST_MOVED`. Return their
        number. Raise `Invalid` for a destination that cannot be used, `Refused` when there are no such files."""
        destination = destination.strip()
        try:
            destinations.parse(destination)
        except destinations.DestinationError as error:
            raise Invalid({"destination": [str(error)]}) from error
        with transaction.atomic():
            files = cls.objects.of(experiment).not_stored().exclude(worker=None)
            chosen = cls.objects.filter(pk__in=files.order_by("pk").values("pk")[:MOST_MOVED])
            count = chosen.update(
                keeping=Keeping.WAITING, destination=destination, fault="", tries=0, retry_at=None
            )
            if not count:
                raise Refused("All files are in an output destination, or on a removed worker.")
            Event.note("store", experiment, by=by, why=f"{count:,} → {destination}"[:500])
        return count

    def stored(self, *, sha256: str, size: int) -> None:
        """Mark it as stored, unless the file or its destination has changed since."""
        unchanged = Artifact.objects.filter(
            pk=self.pk,
            changed_at=self.changed_at,
            keeping=Keeping.WAITING,
            destination=self.destination,
        )
        unchanged.update(keeping=Keeping.STORED, sha256=sha256, size=size, fault="", retry_at=None)

    def hashed(self, sha256: str) -> None:
        Artifact.objects.filter(pk=self.pk, changed_at=self.changed_at).update(sha256=sha256)

    def failed(self, fault: str) -> None:
        """Note why the destination did not accept it. It is tried again later."""
        pause_s = RETRY_S[min(self.tries, len(RETRY_S) - 1)]
        Artifact.objects.filter(pk=self.pk).update(
            fault=fault[:1000],
            tries=self.tries + 1,
            retry_at=database_clock.now() + timedelta(seconds=pause_s),
        )

    def later(self, pause_s: float) -> None:
        """Try again after `pause_s`, because the file is still being written."""
        Artifact.objects.filter(pk=self.pk).update(retry_at=database_clock.now() + timedelta(seconds=pause_s))

    def lost(self, fault: str) -> None:
        """Mark it as dropped, because the file no longer exists."""
        Artifact.objects.filter(pk=self.pk).update(keeping=Keeping.DROPPED, fault=fault[:1000])

    def dropped(self) -> None:
        Artifact.objects.filter(pk=self.pk).update(keeping=Keeping.DROPPED, fault="", retry_at=None)


STATE_FIELDS = ["keeping", "sha256", "fault", "tries", "retry_at"]
