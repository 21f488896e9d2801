"""The rows of the table of experiments: how they are read, and what they show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from django.utils.html import strip_tags

from experiments import database_clock
from experiments.charts.drawing.svg import Svg
from experiments.charts.outcome import outcome
from experiments.charts.sparkline import sparkline
from experiments.filters.language import quoted
from experiments.messages import plural
from experiments.models import Experiment, ExperimentState, Revision, User, status
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.models.plain_sql import KeyedRows
from experiments.permissions import missing
from experiments.scheduler.estimate import estimates
from experiments.scheduler.wait_reasons import Compute, Kind
from experiments.web.ui import descriptions
from experiments.web.ui import estimates as estimate_texts

from . import charts
from .action_buttons import ICONS, Button, button

DEFERRED = {"description", "properties"}  # columns that a row does not show
FEW_ROUNDS = 15  # of the simulation of each end; few, because a list has many rows

# The actions that a row shows as buttons, by state; the menu has all of them.
WORDS: dict[str, tuple[str, ...]] = {
    ExperimentState.DRAFT: ("edit", "clone", "delete"),
    ExperimentState.PENDING: ("dequeue", "clone", "stop"),
    ExperimentState.RUNNING: ("update", "clone", "stop"),
    ExperimentState.PAUSED: ("update", "clone", "stop"),
    ExperimentState.STOPPING: ("clone",),
    ExperimentState.STOPPED: ("resume", "clone", "delete"),
    ExperimentState.COMPLETED: ("clone", "delete"),
    ExperimentState.FAILED: ("resume", "clone", "delete"),
    ExperimentState.PUBLISHED: ("clone", "delete"),
}


@dataclass
class Row:
    """One experiment in the list."""

    experiment: Experiment
    bar: Svg
    spark: Svg
    tried: int
    user: User
    note: str = ""  # below the state: the reason, what it waits for, or the number of failures
    note_role: str = ""  # "moving" or "bad", if it needs attention
    project_term: str = ""  # the filter term for the same project
    creator_term: str = ""
    tag_terms: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def actions(self) -> tuple[list[Button], list[Button]]:
        """The actions that the row shows as buttons, and those of its menu; none for a viewer."""
        return _actions(self.experiment, self.user)

    @property
    def decides_actions(self) -> tuple[object, ...] | None:
        """What the actions depend on, but for the experiment's ID in their URLs; None if on more than that."""
        e = self.experiment
        if e.state == ExperimentState.DRAFT:  # whether it can be enqueued depends on its settings
            return None
        return e.workspace_id, e.state, e.is_foreign, e.offers("resume")


def _with_related(experiments: ExperimentQuerySet) -> ExperimentQuerySet:
    rows = experiments.select_related("workspace", "project", "creator", "queue")
    return rows.defer(*DEFERRED)


def read(keys: Iterable[int]) -> list[Experiment]:
    """Return the experiments with these keys, in this order: `_with_related` as a statement that is compiled once. At
    most two queries."""
    keys = [*keys]
    by_key = {experiment.pk: experiment for experiment in _rows.objects(keys)}
    return [by_key[key] for key in keys if key in by_key]


_rows = KeyedRows(
    Experiment,
    lambda keys: Experiment.objects.filter(pk__in=keys),
    names={field.attname for field in Experiment._meta.concrete_fields} - DEFERRED,
    related={"workspace": (), "project": (), "creator": (), "queue": ()},
)


def read_revisions(experiments: Iterable[Experiment]) -> None:
    """Read the settings of drafts, which decide whether they can be enqueued, and of running experiments, for the
    estimate of their end. At most one query."""
    states = (ExperimentState.DRAFT, ExperimentState.RUNNING)
    needed = [
        each
        for each in experiments
        if each.state in states and each.revision_id and "revision" not in each._state.fields_cache
    ]
    revisions = Revision.with_keys({each.revision_id for each in needed if each.revision_id})
    for experiment in needed:
        experiment.revision = revisions[experiment.revision_id or 0]


def in_order_of(page: list[Experiment], keys: list[str], experiments: ExperimentQuerySet) -> list[Experiment]:
    """Return the experiments with these IDs, in this order, without deleted ones. At most one query."""
    by_key = {experiment.public_id: experiment for experiment in page}
    if set(keys) - by_key.keys():
        rows = _with_related(experiments.filter(public_id__in=keys))
        by_key = {experiment.public_id: experiment for experiment in rows}
    return [by_key[key] for key in keys if key in by_key]


def ends_of(experiments: Sequence[Experiment], compute: Compute) -> dict[int, str]:
    """Return the estimated ends of running experiments as text, by primary key. At most three queries."""
    running = [experiment for experiment in experiments if experiment.state == ExperimentState.RUNNING]
    if not running:
        return {}
    read_revisions(running)
    queues = {experiment.queue.pk: experiment.queue for experiment in running if experiment.queue}
    serving = {pk: compute.serving(queue) for pk, queue in queues.items()}
    expected, now = estimates(running, serving=serving, rounds=FEW_ROUNDS), database_clock.now()
    return {pk: strip_tags(estimate_texts.ends(estimate, now)) for pk, estimate in expected.items()}


def row(experiment: Experiment, *, user: User, compute: Compute, ends: str = "") -> Row:
    """Return the row of an experiment, which must be loaded with workspace, project, creator and queue. `ends`: when it
    will end, as text."""
    note, role = _note(experiment, compute)
    if ends and not note:
        note = f"ends {ends}"
    return Row(
        experiment,
        bar=bar_of(experiment),
        spark=sparkline(charts.best_steps(experiment), last=experiment.last_number),
        tried=max(0, experiment.proposed_count - experiment.active_count),  # as counted by the budget
        user=user,
        note=note,
        note_role=role,
        project_term=f"project:{quoted(experiment.project.name)}",
        creator_term=f"creator:{quoted(experiment.creator.username)}",
        tag_terms=[(tag, f"tag:{quoted(tag)}") for tag in experiment.tags[:2]],
    )


def bar_of(experiment: Experiment) -> Svg:
    """Return the bar of trials by state."""
    counts = tuple((state, experiment.count(state)) for state in status.TRIAL_STATES)
    return _bar(counts, experiment.budget_left or 0)


@lru_cache(maxsize=2000)
def _bar(counts: tuple[tuple[str, int], ...], left: int) -> Svg:
    return outcome(dict(counts), left=left)


def _note(experiment: Experiment, compute: Compute) -> tuple[str, str]:
    """Return the note below the state, and its color role."""
    state, reason = experiment.state, experiment.reason
    if state == ExperimentState.STOPPING:
        return f"{plural(experiment.alive_count, 'trial')} ending", ""
    if state in (ExperimentState.PENDING, ExperimentState.RUNNING):
        return _waits(experiment, compute), ""
    if state == ExperimentState.PAUSED:
        return reason, "moving" if reason else ""
    if state == ExperimentState.FAILED:
        return reason, "bad"
    if state == ExperimentState.COMPLETED and experiment.failed_count:
        return "", ""  # the state itself names its failures
    return ("read-only" if state == ExperimentState.PUBLISHED else reason), ""


def _waits(experiment: Experiment, compute: Compute) -> str:
    held = compute.hold(experiment)
    if held and held.kind in (Kind.SOON, Kind.PROPOSING):
        return f"in the queue {experiment.queue}" if experiment.state == ExperimentState.PENDING else ""
    return descriptions.hold_text(held, experiment)


def _actions(experiment: Experiment, user: User) -> tuple[list[Button], list[Button]]:
    if missing(user, "stop", experiment):
        return [], []
    listed = [verb for verb in ICONS if experiment.offers(verb)]
    if "delete" not in listed:
        listed.append("delete")  # listed even if not possible: the menu gives the reason
    # The row shows only the labels, to save width; the menu shows all actions with icons.
    likely = [
        replace(button(experiment, verb, user), icon="", is_danger=False, is_primary=False)
        for verb in WORDS[experiment.state]
        if experiment.offers(verb)
    ]
    return likely, [button(experiment, verb, user) for verb in listed]
