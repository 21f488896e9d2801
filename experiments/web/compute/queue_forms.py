"""The form of a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from django import forms

from experiments.models import Queue, Workspace
from experiments.models.compute.queue import MOST_SLOTS

OPEN, LISTED = "open", "listed"


class Grant(TypedDict):
    """Who may enqueue."""

    is_open: bool
    workspaces: list[Workspace]


class QueueForm(forms.Form):
    """Name, who may enqueue, fair share."""

    name = forms.CharField(
        max_length=64,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Enter a name for the queue."},
        help_text="Used to start workers: trialdeck worker --queue NAME.",
    )
    granted = forms.ChoiceField(
        label="Access",
        choices=[(OPEN, "All workspaces"), (LISTED, "Selected workspaces")],
        widget=forms.RadioSelect,
        initial=OPEN,
    )
    workspaces = forms.ModelMultipleChoiceField(
        Workspace.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Experiments already queued stay queued.",
    )
    slots_per_experiment = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_SLOTS,
        label="Slots per experiment",
        help_text="Trials of one experiment running in parallel. Blank = no limit.",
    )
    slots_per_person = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_SLOTS,
        label="Slots per person",
        help_text="Trials of one person's experiments running in parallel. Blank = no limit.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, queue: Queue | None = None) -> None:
        super().__init__(data, initial=_initial(queue) if queue else {}, label_suffix="")
        self.is_new = queue is None
        workspaces = self.fields["workspaces"]
        assert isinstance(workspaces, forms.ModelMultipleChoiceField)
        workspaces.queryset = Workspace.objects.order_by("name")
        if queue and queue.is_default:
            self.fields["name"].disabled = self.fields["granted"].disabled = True
            self.fields["name"].help_text = "Default queue: can't be renamed."
            del self.fields["workspaces"]

    def clean(self) -> dict[str, Any]:
        """Require access for at least one workspace in a new queue; an existing queue may have none."""
        data = self.cleaned_data
        if self.is_new and data.get("granted") == LISTED and not data.get("workspaces"):
            self.add_error(
                "granted", "No workspace could use this queue. Select a workspace, or all workspaces."
            )
        return data

    def grant(self) -> Grant:
        """Return the arguments of `Queue.grant`."""
        is_open = self.cleaned_data["granted"] == OPEN
        return Grant(is_open=is_open, workspaces=list(self.cleaned_data.get("workspaces", ())))

    def share(self) -> dict[str, int | None]:
        """Return the arguments of `Queue.share`."""
        data = self.cleaned_data
        return {"per_experiment": data["slots_per_experiment"], "per_person": data["slots_per_person"]}


def _initial(queue: Queue) -> dict[str, object]:
    return {
        "name": queue.name,
        "granted": OPEN if queue.is_open else LISTED,
        "workspaces": list(queue.workspaces.values_list("pk", flat=True)),
        "slots_per_experiment": queue.slots_per_experiment,
        "slots_per_person": queue.slots_per_person,
    }
