"""Compute the hypervolume of Pareto fronts in the background: one experiment at a time, in a process of its own."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Q

from experiments import database_clock
from experiments.models import Experiment, FrontTrial, Hypervolume, status
from experiments.models.trial.pareto_front import LOSSES
from experiments.scheduler import importance

GROWTH = 1.05  # growth of the number of results after which a running experiment's hypervolume is recomputed
MOST_ROWS = 50_000


class Background(importance.Background):
    """Computes one hypervolume history at a time, in a thread next to the beat."""

    name = "hypervolume"

    def due(self) -> Experiment | None:
        """Return the next experiment whose hypervolume is missing or outdated, the latest change first."""
        has_grown = Q(succeeded_count__gte=F("hypervolume__succeeded_count") * GROWTH)
        has_changed = ~Q(succeeded_count=F("hypervolume__succeeded_count"))
        is_over = ~Q(state__in=status.ACTIVE)
        is_outdated = (
            Q(hypervolume=None) | ~Q(hypervolume__epoch=F("epoch")) | (has_changed & (has_grown | is_over))
        )
        return Experiment.objects.filter(is_outdated, front_size__gt=0).order_by("-updated_at").first()

    def work(self, experiment: Experiment) -> None:
        document = inputs(experiment)
        answer = importance.compute(document, self.ending, module="experiments.search.hypervolume")
        if answer is not None:
            store(experiment, answer)

    def give_up(self, experiment: Experiment) -> None:
        store(experiment, {"problem": importance.FAILED})


def inputs(experiment: Experiment) -> dict[str, Any]:
    """Return the document for `experiments.search.hypervolume`: every trial that was ever on the front."""
    columns = LOSSES[: len(experiment.objectives)]
    rows = FrontTrial.objects.filter(experiment=experiment).order_by("joined_result")
    fields = ("joined_result", "left_result", *columns)
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in experiment.objectives.values()]
    worst = [sign * bound[2] for sign, bound in zip(signs, experiment.objective_bounds, strict=True)]
    return {"rows": [list(row) for row in rows.values_list(*fields)[:MOST_ROWS]], "reference": worst}


def store(experiment: Experiment, answer: dict[str, Any]) -> Hypervolume:
    """Store the output of `experiments.search.hypervolume`, replacing the previous one."""
    row, _ = Hypervolume.objects.update_or_create(
        experiment=experiment,
        defaults={
            "epoch": experiment.epoch,
            "computed_at": database_clock.now(),
            "succeeded_count": experiment.succeeded_count,
            "reference": [bound[2] for bound in experiment.objective_bounds],
            "steps": answer.get("steps", []),
            "problem": answer.get("problem", "")[:200],
        },
    )
    return row
