"""Experiments on the pages of queues and workers, which show experiments of all workspaces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from experiments.models import Experiment, Queue, User, status
from experiments.permissions import learn_roles, may
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment.action_buttons import Button, button
from experiments.web.ui import descriptions

MOST_SHOWN = 200  # experiments of one queue
FEW = 4  # waiting experiments of all queues


class Visibility:
    """What a user may see of these experiments. Two queries for any number. The experiments must be loaded with their
    workspaces."""

    def __init__(self, user: User, experiments: Iterable[Experiment]) -> None:
        shown = {experiment.pk: experiment for experiment in experiments}
        self._user = user
        self._seen = set(
            Experiment.objects.visible_to(user).filter(pk__in=shown).values_list("pk", flat=True)
        )
        learn_roles(user, {experiment.workspace for experiment in shown.values()})

    def sees(self, experiment: Experiment) -> bool:
        return self.has(experiment.pk)

    def has(self, pk: int) -> bool:
        """Like `sees`, by primary key."""
        return pk in self._seen

    def may_operate(self, experiment: Experiment) -> bool:
        return self.sees(experiment) and may(self._user, "front", experiment)

    def label(self, experiment: Experiment) -> str:
        """Return the experiment's name, or a placeholder when the user may not see it."""
        if self.sees(experiment):
            return experiment.name
        return "private" if may(self._user, "view", experiment.workspace) else "another workspace"


@dataclass
class QueuedRow:
    """One queued experiment, as a user sees it."""

    place: int
    experiment: Experiment
    label: str
    is_seen: bool
    likely: list[Button] = field(default_factory=list)
    more: list[Button] = field(default_factory=list)
    waits: str = ""


def of_queue(queue: Queue | None, user: User) -> list[QueuedRow]:
    """Return the experiments of a queue in order, as this user sees them. Three queries."""
    if queue is None:
        return []
    queued = (
        queue.active_experiments()
        .select_related("workspace", "creator", "queue")
        .defer("description", "trace")
    )
    experiments = list(queued[:MOST_SHOWN])
    visibility = Visibility(user, experiments)
    rows = []
    for place, experiment in enumerate(experiments, start=1):
        row = QueuedRow(place, experiment, visibility.label(experiment), visibility.sees(experiment))
        if visibility.may_operate(experiment):
            row.likely, row.more = _actions(
                experiment, user, is_first=place == 1, is_alone=len(experiments) == 1
            )
        rows.append(row)
    return rows


def waiting(queues: Iterable[Queue], compute: Compute, user: User) -> list[QueuedRow]:
    """Return the experiments with waiting trials, longest wait first, with the button that moves them to the front."""
    places = {
        place.pk: at
        for queue in queues
        for at, place in enumerate(compute.queue_entries.get(queue.pk, []), 1)
    }
    waits = {place.pk for entries in compute.queue_entries.values() for place in entries if place.waiting}
    waiting_rows = Experiment.objects.filter(pk__in=waits & places.keys()).order_by("enqueued_at", "pk")
    experiments = list(
        waiting_rows.select_related("workspace", "creator", "queue").defer("description", "trace")[:FEW]
    )
    visibility = Visibility(user, experiments)
    rows = []
    for experiment in experiments:
        at = places[experiment.pk]
        row = QueuedRow(at, experiment, visibility.label(experiment), visibility.sees(experiment))
        row.waits = descriptions.hold_text(compute.hold(experiment), experiment)
        if at > 1 and visibility.may_operate(experiment):
            row.likely, _ = _actions(experiment, user, is_first=False, is_alone=False)
        rows.append(row)
    return rows


def _actions(
    experiment: Experiment, user: User, *, is_first: bool, is_alone: bool
) -> tuple[list[Button], list[Button]]:
    if not status.is_offered("front", experiment.state):  # already stopping
        return [], []
    moves = [] if is_alone else ["before", "back"]
    verbs = [*moves, "move_to", *(["dequeue"] if status.is_offered("dequeue", experiment.state) else [])]
    more = [button(experiment, verb, user) for verb in verbs]
    if is_first:
        return [], more
    front = button(experiment, "front", user)
    return [replace(front, label="To front", icon="")], [front, *more]  # a phone shows only the menu
