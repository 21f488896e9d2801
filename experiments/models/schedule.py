"""A repeated experiment: a cron expression, at whose due times control clones the experiment and enqueues the clone."""

from __future__ import annotations

from datetime import datetime

from django.db import models, transaction

from experiments import database_clock
from experiments.models.experiment.model import Experiment
from experiments.timetable import cron, zones
from experiments.timetable.zones import TimetableError

from .account.user import User
from .event import Event
from .fields import StampField
from .settings import Invalid


class Overlap(models.TextChoices):
    """What happens at a due time when the clone of the last one is still active."""

    SKIP = "skip", "Skip this run"
    START = "start", "Start another run"


class Schedule(models.Model):
    """The schedule that repeats an experiment. It has the permissions of `by`, who saved it last. `note` is the result
    of the last due time; `next_at` is null while it is paused.
    """

    experiment = models.OneToOneField(Experiment, models.CASCADE, related_name="schedule")
    by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    cron = models.CharField(max_length=200)
    time_zone = models.CharField(max_length=64, default="UTC")
    overlap = models.CharField(max_length=5, choices=Overlap.choices, default=Overlap.SKIP)
    next_at = models.DateTimeField(null=True, db_index=True)
    last_at = models.DateTimeField(null=True)
    last_clone = models.ForeignKey(Experiment, models.SET_NULL, null=True, related_name="+")
    note = models.CharField(max_length=300, blank=True)
    created_at = StampField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=models.Q(overlap__in=Overlap.values), name="schedule_overlap")
        ]

    def __str__(self) -> str:
        return f"{self.cron} {self.time_zone}"

    @property
    def is_paused(self) -> bool:
        return self.next_at is None

    @classmethod
    def put(
        cls,
        experiment: Experiment,
        *,
        by: User,
        cron: str,
        time_zone: str = "UTC",
        overlap: str = Overlap.SKIP,
    ) -> Schedule:
        """Create or change the schedule of the experiment; a paused one continues. Raise `Invalid`."""
        values = _checked(cron, time_zone, overlap)
        with transaction.atomic():
            lock(experiment.pk)
            row = cls.objects.filter(experiment=experiment).first() or cls(experiment=experiment)
            before = "" if row._state.adding else str(row)
            for name, value in {**values, "by": by}.items():
                setattr(row, name, value)
            row.next_at, row.note = row.due_after(database_clock.now()), ""
            row.save()
            _redraw(experiment)
            change = f"{before} → {row}" if before and before != str(row) else str(row)
            Event.note("schedule", experiment, by=by, why=change)
        return row

    def pause(self, *, by: User | None, because: str = "") -> bool:
        """Start no experiments until the schedule is resumed. Return False if it is already paused."""
        return self._switch(None, by=by, verb="pause_schedule", because=because)

    def unpause(self, *, by: User) -> bool:
        """Continue with the next due time, with the permissions of `by`. Due times that passed in the meantime are
        skipped."""
        return self._switch(self.due_after(database_clock.now()), by=by, verb="unpause_schedule")

    def _switch(self, next_at: datetime | None, *, by: User | None, verb: str, because: str = "") -> bool:
        with transaction.atomic():
            lock(self.experiment_id)
            rows = type(self).objects.filter(pk=self.pk, next_at__isnull=next_at is not None)
            changes = {"next_at": next_at, "note": because[:300], **({"by": by} if by and next_at else {})}
            if not rows.update(**changes):
                return False
            _redraw(self.experiment)
            Event.note(verb, self.experiment, by=by, why=because or str(self))
        self.refresh_from_db()
        return True

    def remove(self, *, by: User) -> bool:
        """Remove the schedule; its clones are kept. Return False if it was already removed."""
        with transaction.atomic():
            lock(self.experiment_id)
            count, _ = type(self).objects.filter(pk=self.pk).delete()
            if count:
                _redraw(self.experiment)
                Event.note("unschedule", self.experiment, by=by, why=str(self))
        return bool(count)

    def ran(self, *, at: datetime, note: str, clone: Experiment | None = None) -> None:
        """Store the result of the due time, and set the next one after `at`."""
        self.last_at, self.note, self.next_at = at, note[:300], self.due_after(at)
        self.last_clone = clone or self.last_clone
        self.save(update_fields=["last_at", "note", "next_at", "last_clone"])
        _redraw(self.experiment)
        Event.note("repeat", self.experiment, why=self.note)

    def due_after(self, after: datetime) -> datetime:
        """Return the first due time after an instant."""
        return cron.next_after(self.cron, self.time_zone, after)

    def next_times(self, count: int) -> list[datetime]:
        """Return the next due times, none while it is paused."""
        if self.next_at is None:
            return []
        return [self.next_at, *cron.next_times(self.cron, self.time_zone, self.next_at, count - 1)]


def lock(experiment: int) -> None:
    """Lock the row of an experiment (a key) until the transaction ends. Call it before any change of its schedule."""
    Experiment.everything.select_for_update(no_key=True).filter(pk=experiment).values_list("pk").first()


def _redraw(experiment: Experiment) -> None:
    """Increment its version, so that its pages are redrawn."""
    Experiment.everything.filter(pk=experiment.pk).update(version=models.F("version") + 1)


def _checked(expression: str, time_zone: str, overlap: str) -> dict[str, str]:
    errors: dict[str, list[str]] = {}
    try:
        expression = cron.canonical(expression)
    except TimetableError as error:
        errors["cron"] = [str(error)]
    if len(expression) > 200:
        errors["cron"] = ["At most 200 characters are allowed."]
    try:
        zones.zone(time_zone)
    except TimetableError as error:
        errors["time_zone"] = [str(error)]
    if overlap not in Overlap.values:
        errors["overlap"] = [f"This must be one of: {', '.join(Overlap.values)}."]
    if errors:
        raise Invalid(errors)
    return {"cron": expression, "time_zone": time_zone, "overlap": overlap}
