"""Whether the rows of the product are what the model says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, models

from experiments.models import (
    Event,
    Experiment,
    Kind,
    Occurrence,
    Revision,
    SlotUsage,
    Suggestion,
    Trial,
    Workspace,
)
from tests.scheduler.state_machine.model import EXPERIMENT_STEPS, TRIAL_STEPS, Model, ModelExperiment

COLUMNS = (
    "number", "state", "source", "params", "rerun_of__number", "attempt", "retries", "failure", "value",
    "was_interrupted", "stop_target", "stop_grace_s", "worker__name", "boot",
)  # fmt: skip
BOOKKEEPING = ("wake", "version")  # which count up where nothing else changes


class Comparison:
    """The model, and the rows of its experiments."""

    lab: Workspace
    began_at: datetime

    def __init__(self) -> None:
        self.model = Model()

    def rows(self) -> list[Any]:
        """Everything that a person could have changed."""
        keys = tuple(self.model.experiments)
        return [
            _select(Experiment, "id", keys),
            _select(Trial, "experiment_id", keys),
            [len(_select(table, "experiment_id", keys)) for table in (Event, Revision, Suggestion)],
        ]

    def compare(self) -> None:
        """Compare all rows with the model, after new proposals were adopted."""
        stored = self.compare_proposals()
        columns = (
            "pk", "state", "enqueued_from", "trashed_at", "proposed_count", "max_trials", "concurrency", "best_value",
            "best_number", "trace", "last_number", "settled_count", "is_exhausted", "limit_hold", "window_closes_at",
        )  # fmt: skip
        counts = tuple(f"{state}_count" for state in TRIAL_STEPS)
        rows = Experiment.everything.filter(pk__in=self.model.experiments).values(*columns, *counts)
        for row in rows:
            model = self.model.experiments[row["pk"]]
            best = model.best or (None, None)
            expected = {
                "pk": model.key,
                "state": model.state,
                "enqueued_from": model.enqueued_from,
                "trashed_at": row["trashed_at"] if model.is_trashed else None,
                "proposed_count": model.proposed,
                "max_trials": model.max_trials,
                "concurrency": model.concurrency,
                "best_value": best[0],
                "best_number": best[1],
                "trace": model.trace,
                "last_number": max(row["last_number"], model.last_number),
                "settled_count": row["settled_count"],
                "is_exhausted": model.is_exhausted,
                "limit_hold": row["limit_hold"] if model.is_held else "",
                "window_closes_at": self.closes_at(model),
                **{f"{state}_count": len(model.having(state)) for state in TRIAL_STEPS},
            }
            assert row == expected
            assert bool(row["trashed_at"]) == model.is_trashed
            assert bool(row["limit_hold"]) == model.is_held
            trials = {
                trial.number: (
                    trial.number, trial.state, trial.source, {"x": trial.values}, trial.rerun_of, trial.attempt,
                    trial.retries, trial.failure, trial.value, trial.is_interrupted, trial.target, trial.grace_s,
                    *(trial.holder or (None, None)),
                )
                for trial in model.trials.values()
            }  # fmt: skip
            assert stored.get(model.key, {}) == trials
        self.compare_usage()

    def compare_usage(self) -> None:
        """The slot seconds of trials that have ended, each once, and what was noted of the limits."""
        spans = [span for each in self.model.experiments.values() for span in each.slots_used]
        totals = SlotUsage.objects.filter(workspace=self.lab, is_day=True).values_list("seconds", "trials")
        assert sum(trials for _, trials in totals) == len(spans)
        assert round(sum(seconds for seconds, _ in totals)) == sum(end - start for start, end in spans)
        notes = Occurrence.objects.filter(experiment=None, kind=Kind.BUDGET).values_list("key", flat=True)
        noted = [key.split(" ") for key in notes]
        assert sorted(
            (percent, "creator" if person else "workspace") for *_, percent, person in noted
        ) == sorted((str(percent), whose) for _, whose, percent in self.model.limits.noted)

    def closes_at(self, model: ModelExperiment) -> datetime | None:
        if model.window is None:
            return None
        return self.began_at + timedelta(seconds=model.window.opening(model.window_set_at)[1])

    def compare_proposals(self) -> dict[int, dict[int, tuple]]:
        """Have the model adopt what was proposed since. Return the rows of all trials by experiment and number."""
        stored: dict[int, dict[int, tuple]] = {}
        mine = Trial.objects.filter(experiment__in=self.model.experiments).order_by("number")
        for key, *row in mine.values_list("experiment", *COLUMNS):
            stored.setdefault(key, {})[row[0]] = tuple(row)
        for key, rows in stored.items():
            model = self.model.experiments[key]
            new = [row for number, row in rows.items() if number not in model.trials and row[2] == "proposal"]
            model.adopt((row[0], row[3]["x"]) for row in new)
        return stored

    def compare_histories(self) -> None:
        """The entries of the history lead from state to state, and to the present one."""
        for key, model in self.model.experiments.items():
            states: dict[int | None, str] = {}
            for entry in Event.objects.filter(experiment=key).order_by("pk").exclude(before="", after=""):
                steps = EXPERIMENT_STEPS if entry.trial_id is None else TRIAL_STEPS
                if entry.before == entry.after or entry.after not in steps:
                    continue
                before = states.get(entry.trial_id, "" if entry.trial_id is None else "waiting")
                if entry.before or entry.trial_id is None:
                    assert entry.before == before
                    assert entry.after in steps[before].split(), (before, entry.after)
                states[entry.trial_id] = entry.after
            assert states.pop(None, "draft") == model.state
            present = dict(Trial.everything.filter(experiment=key).values_list("pk", "state"))
            assert {pk: states.get(pk, "waiting") for pk in present} == present


def _select(table: type[models.Model], key: str, keys: tuple[int, ...]) -> list[tuple]:
    """Return the rows without the columns that count up where nothing else changes."""
    marks = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table._meta.db_table} WHERE {key} IN ({marks}) ORDER BY id", keys)  # noqa: S608
        kept = [number for number, column in enumerate(cursor.description) if column[0] not in BOOKKEEPING]
        return [tuple(row[number] for number in kept) for row in cursor.fetchall()]
