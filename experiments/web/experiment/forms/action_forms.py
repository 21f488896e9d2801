"""The forms in the confirmations of actions: a queue, a position, new limits, the name of a clone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from experiments.messages import duration
from experiments.models import Experiment, Queue, User
from experiments.web.compute import experiment_rows
from experiments.web.ui.form_fields import QueueChoiceField, field_of

from .project_choice import ProjectChoice, chosen_project


class ActionForm(forms.Form):
    """A form of a confirmation, for one experiment and user."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, experiment: Experiment, user: User) -> None:
        super().__init__(data)
        self.experiment, self.user = experiment, user
        self.prepare()

    def prepare(self) -> None:
        """Adapt the fields to the experiment."""

    def answer(self) -> dict[str, Any]:
        """Return the arguments of the verb."""
        return self.cleaned_data


class QueueChoice(QueueChoiceField):
    """The queues granted to the workspace. Blank means the experiment's own, or `default`."""

    widget = forms.RadioSelect

    def __init__(self) -> None:
        super().__init__(Queue.objects.none(), required=False, empty_label=None, label="Queue")

    def prepare(self, experiment: Experiment, *, other_than: Queue | None = None) -> None:
        """Offer the queues of the experiment's workspace, without `other_than`."""
        default = Queue.default()
        queues = Queue.objects.granted_to(experiment.workspace)
        self.queryset = queues.exclude(pk=other_than.pk) if other_than else queues
        is_granted = experiment.queue_id is not None and queues.filter(pk=experiment.queue_id).exists()
        self.initial = experiment.queue_id if is_granted else default.pk


class EnqueueForm(ActionForm):
    queue = QueueChoice()

    def prepare(self) -> None:
        field_of(self, "queue", QueueChoice).prepare(self.experiment)


class MoveToForm(ActionForm):
    """A queue other than the current one."""

    queue = QueueChoice()

    def prepare(self) -> None:
        field = field_of(self, "queue", QueueChoice)
        field.prepare(self.experiment, other_than=self.experiment.queue)
        field.required, field.initial = True, None
        field.error_messages["required"] = "Select a queue."


class BeforeForm(ActionForm):
    """Another experiment in the same queue, by its position."""

    other = forms.TypedChoiceField(
        coerce=int,
        label="Move before",
        error_messages={
            "required": "Select an experiment.",
            "invalid_choice": "This experiment left the queue. Select another one.",
        },
    )

    def prepare(self) -> None:
        field_of(self, "other", forms.TypedChoiceField).choices = [
            (row.experiment.pk, f"{row.place}. {row.label}")
            for row in experiment_rows.of_queue(self.experiment.queue, self.user)
            if row.experiment.pk != self.experiment.pk
        ]

    def answer(self) -> dict[str, Any]:
        return {"other": Experiment(pk=self.cleaned_data["other"])}


class CloneForm(ProjectChoice, ActionForm):
    field_order = ("name", "project")

    name = forms.CharField(max_length=200, label="Name")
    description = forms.CharField(
        required=False,
        label="Description",
        widget=forms.Textarea(attrs={"rows": 4, "class": "is-prose"}),
        max_length=100_000,
    )

    def prepare(self) -> None:
        fields, experiment = self.fields, self.experiment
        self.auto_id = "clone_%s"  # its dialog may open above a form that also has a project
        fields["name"].initial = f"Clone of {experiment.name}"[:200]
        fields["project"].initial = experiment.project_id
        self.offer_projects(experiment.workspace)
        fields["description"].initial = experiment.description

    def answer(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        project = chosen_project(self.experiment.workspace, cleaned)
        return {"name": cleaned["name"], "project": project, "description": cleaned["description"]}


def _half_more_h(seconds: float) -> float:
    """Return one and a half times these seconds in hours, with two decimals, or four if it is short."""
    hours = seconds * 1.5 / 3600
    return round(hours, 2 if hours >= 1 else 4)


class ResumeForm(ActionForm):
    """Requires new limits in place of reached ones; others are optional."""

    max_trials = forms.IntegerField(required=False, min_value=1, label="Max trials")
    max_duration_h = forms.FloatField(required=False, min_value=0.0001, label="Max duration")
    goal = forms.FloatField(required=False, label="Goal")
    rerun_failed = forms.BooleanField(required=False)
    queue = QueueChoice()

    def prepare(self) -> None:
        fields, experiment = self.fields, self.experiment
        settings = experiment.settings
        field_of(self, "queue", QueueChoice).prepare(experiment)
        fields["max_trials"].initial = experiment.max_trials
        remaining = experiment.left_to_do()
        needs_budget = remaining.needs_budget and not remaining.failed
        if experiment.budget_left == 0:
            if needs_budget:
                more = max(1, experiment.proposed_count // 2)
                fields["max_trials"].initial = experiment.proposed_count + more
            fields[
                "max_trials"
            ].help_text = f"Used: {experiment.proposed_count:,} of {experiment.max_trials:,} trials."
        if settings.max_duration_s is None:
            del fields["max_duration_h"]
        elif experiment.elapsed_s() < settings.max_duration_s:
            ran = duration(experiment.elapsed_s())
            fields["max_duration_h"].initial = round(settings.max_duration_s / 3600, 4)
            fields[
                "max_duration_h"
            ].help_text = f"In hours. Used: {ran} of {duration(settings.max_duration_s)}."
        else:
            # The last trials may have run beyond the limit.
            used_s, most_h = experiment.elapsed_s(), round(settings.max_duration_s / 3600, 4)
            fields["max_duration_h"].initial = _half_more_h(used_s) if needs_budget else most_h
            fields[
                "max_duration_h"
            ].help_text = f"In hours. Used: {duration(used_s)} of {duration(settings.max_duration_s)}."
        if settings.goal is None:
            del fields["goal"]
        elif not experiment.has_reached(settings.goal):
            fields["goal"].initial = settings.goal
            fields["goal"].help_text = "Not reached yet. Blank = no goal."
        else:
            fields["goal"].initial = None if needs_budget else settings.goal
            fields["goal"].help_text = f"{settings.goal:.12g} is reached. Blank = no goal."
        if remaining.failed:
            fields["rerun_failed"].initial = remaining.needs_budget
            fields["rerun_failed"].label = f"Rerun the failed trials ({remaining.failed:,})"
            fields[
                "rerun_failed"
            ].help_text = (
                "Only parameter values that never succeeded. Reruns do not count against the budget."
            )
        else:
            del fields["rerun_failed"]

    def answer(self) -> dict[str, Any]:
        cleaned = dict(self.cleaned_data)
        choices = {"queue": cleaned["queue"], "rerun_failed": cleaned.get("rerun_failed", False)}
        if cleaned["max_trials"] is not None and cleaned["max_trials"] != self.experiment.max_trials:
            choices["max_trials"] = cleaned["max_trials"]
        hours, most_s = cleaned.get("max_duration_h"), self.experiment.settings.max_duration_s
        if hours is not None and most_s is not None and hours != round(most_s / 3600, 4):
            choices["max_duration_s"] = hours * 3600
        if "goal" in cleaned and cleaned["goal"] != self.experiment.settings.goal:
            choices["goal"] = cleaned["goal"]
        return choices
