"""Apply retention rules and compute their previews, a portion per tick of the beat."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Count, Q, Sum

from experiments import database_clock
from experiments.models import (
    Event,
    Experiment,
    FolderRemoval,
    LogPiece,
    Part,
    Point,
    Refused,
    RetentionRule,
    Trial,
    plain_sql,
)
from experiments.models.workspace.retention import mark_removed, note_removal

logger = logging.getLogger(__name__)

EVERY_S = 3600.0
AT_ONCE = 50  # trials per portion: each may have 100,000 points, and other writers wait
EXPERIMENTS_AT_ONCE = 50
PREVIEWED_AT_ONCE = 500
MOST_EXAMPLES = 5
ABOUT_BYTES = {Part.POINTS: 40, Part.EVENTS: 200}  # of one row

Cursor = tuple[
    int, int
]  # of a walk through all experiments by key: the next one, and the last number done in it
START: Cursor = (0, 0)


class Retention:
    """Applies the rules in one control process. A restarted process begins again at the first experiment."""

    def __init__(self) -> None:
        self.apply_at = 0.0  # of the monotonic clock
        self._walks: list[tuple[int, Cursor]] = []  # rules that are being applied, and how far

    def tick(self, now: float) -> None:
        """Do a portion of the due work. `now` is in monotonic seconds."""
        preview_next()
        if now >= self.apply_at:
            self.apply_at = now + EVERY_S
            self._walks = [
                (pk, START) for pk in RetentionRule.objects.filter(is_on=True).values_list("pk", flat=True)
            ]
        if self._walks:
            self._step()

    def _step(self) -> None:
        pk, cursor = self._walks.pop(0)
        rule = RetentionRule.objects.filter(pk=pk, is_on=True).first()
        if rule is None:
            return
        trials, following = portion(rule, cursor, at_most=AT_ONCE, now=database_clock.now())
        if following:
            self._walks.append((pk, following))
        apply(rule, trials)


def apply_all() -> None:
    """Apply all rules that are on, at once: for commands and tests."""
    for rule in RetentionRule.objects.filter(is_on=True):
        cursor: Cursor | None = START
        while cursor:
            trials, cursor = portion(rule, cursor, at_most=AT_ONCE, now=database_clock.now())
            apply(rule, trials)


def portion(
    rule: RetentionRule, cursor: Cursor, *, at_most: int, now: datetime
) -> tuple[list[Trial], Cursor | None]:
    """Return up to `at_most` trials whose part the rule removes, and the cursor to continue from; None at the end."""
    first, done = cursor
    experiments = list(
        rule.experiments()
        .filter(pk__gte=first)
        .select_related("revision")
        .order_by("pk")[:EXPERIMENTS_AT_ONCE]
    )
    trials: list[Trial] = []
    for experiment in experiments:
        due = rule.due(experiment, now).filter(number__gt=done if experiment.pk == first else 0)
        for trial in due.order_by("number")[: at_most - len(trials)]:
            trial.experiment = experiment
            trials.append(trial)
        if len(trials) == at_most:
            return trials, (experiment.pk, trials[-1].number)
    if len(experiments) < EXPERIMENTS_AT_ONCE:
        return trials, None
    return trials, (experiments[-1].pk + 1, 0)


# --- removed -------------------------------------------------------------------------------------------------------


def apply(rule: RetentionRule, trials: Sequence[Trial]) -> None:
    """Remove the rule's part of these trials. Folders are removed by their workers."""
    for _, of_one in groupby(trials, key=lambda trial: trial.experiment_id):
        group = list(of_one)
        try:
            _apply(rule, group[0].experiment, group)
        except Refused as refused:  # moved to the trash meanwhile
            logger.info("Retention skips %s: %s", group[0].experiment, refused)


def _apply(rule: RetentionRule, experiment: Experiment, trials: Sequence[Trial]) -> None:
    now = database_clock.now()
    with experiment.locked():
        experiment.needs_no_look()
        # Check again under the lock: a trial may have been starred, or the rule switched off.
        if not RetentionRule.objects.filter(pk=rule.pk, is_on=True, changed_at=rule.changed_at).exists():
            return
        if not rule.experiments().filter(pk=experiment.pk).exists():
            return
        due = list(
            rule.due(experiment, now)
            .filter(pk__in=[trial.pk for trial in trials])
            .select_related("worker")
            .order_by("number")
        )
        if not due:
            return
        if rule.part == Part.FOLDER:
            FolderRemoval.objects.bulk_create(
                (FolderRemoval(trial=trial, worker=trial.worker, rule=rule) for trial in due if trial.worker),
                ignore_conflicts=True,
            )
            return
        size = _size(rule.part, due)
        _rows_of(rule.part, due).delete()
        for trial in due:
            mark_removed(trial, rule.part, now)
        note_removal(experiment, rule.part, [trial.number for trial in due], size=size["bytes"])


def _rows_of(part: str, trials: Sequence[Trial]) -> Any:
    keys = [trial.pk for trial in trials]
    if part == Part.LOG:
        return LogPiece.objects.filter(trial__in=keys)
    if part == Part.POINTS:
        return Point.objects.filter(trial__in=keys)
    return Event.objects.filter(trial__in=keys, by=None)  # actions of people are kept


# --- previewed -----------------------------------------------------------------------------------------------------


_not_previewed = plain_sql.Statement(
    lambda: RetentionRule.objects.exclude(preview__has_key="at").order_by().values_list("pk")[:1]
)


def preview_next() -> None:
    """Compute a portion of the next preview that is not complete."""
    if not _not_previewed.rows():  # nearly always, with each tick
        return
    rule = RetentionRule.objects.exclude(preview__has_key="at").order_by("pk").first()
    if rule is None:
        return
    now = database_clock.now()
    cursor = tuple(rule.preview.get("cursor", START))
    trials, following = portion(rule, cursor, at_most=PREVIEWED_AT_ONCE, now=now)
    preview = _add(rule, rule.preview, trials)
    preview |= {"cursor": following} if following else {"at": now.isoformat(timespec="seconds")}
    RetentionRule.objects.filter(pk=rule.pk, changed_at=rule.changed_at).update(preview=preview)


def preview_all() -> None:
    """Compute all previews that are not complete, at once: for tests."""
    while RetentionRule.objects.exclude(preview__has_key="at").exists():
        preview_next()


def _add(rule: RetentionRule, preview: dict[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    sums = {name: preview.get(name, 0) for name in ("trials", "items", "bytes", "unmeasured", "absent")}
    sums["trials"] += len(trials)
    for name, number in _size(rule.part, trials).items():
        sums[name] += number
    oldest = [preview["oldest"]] if preview.get("oldest") else []
    oldest += [trial.ended_at.isoformat(timespec="seconds") for trial in trials if trial.ended_at]
    examples = preview.get("examples", [])
    examples = examples + [
        {
            "experiment": trial.experiment.public_id,
            "workspace": trial.experiment.workspace_id,
            "name": trial.experiment.name,
            "number": trial.number,
            "ended_at": trial.ended_at.isoformat(timespec="seconds") if trial.ended_at else None,
        }
        for trial in trials[: MOST_EXAMPLES - len(examples)]
    ]
    return {**sums, "oldest": min(oldest, default=None), "examples": examples}


def _size(part: str, trials: Sequence[Trial]) -> dict[str, int]:
    """Return the number of `items` and their `bytes`; of folders also how many were not measured yet, and how many are
    on workers that are gone."""
    keys = [trial.pk for trial in trials]
    if part == Part.FOLDER:
        sums = Trial.objects.filter(pk__in=keys).aggregate(
            bytes=Sum("folder_bytes"),
            unmeasured=Count("pk", filter=Q(folder_bytes=None)),
            absent=Count("pk", filter=Q(worker__gone_at__isnull=False)),
        )
        return {name: number or 0 for name, number in sums.items()} | {"items": len(keys)}
    rows = _rows_of(part, trials)
    if part == Part.LOG:
        sums = rows.aggregate(bytes=Sum("size"))
        return {"items": len(keys), "bytes": sums["bytes"] or 0}
    count = rows.count()
    return {"items": count, "bytes": count * ABOUT_BYTES[Part(part)]}
