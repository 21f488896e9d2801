"""What an administrator gives a queue."""

from __future__ import annotations

from django import forms

from experiments.models import Queue, Workspace
from experiments.models.queue import MOST_SLOTS

OPEN, LISTED = "open", "listed"


class QueueForm(forms.Form):
    """Name, who may enqueue, fair share."""

    name = forms.CharField(
        max_length=64,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Give the queue a name."},
        help_text="Workers serve it by this name: trialdeck worker --queue NAME.",
    )
    granted = forms.ChoiceField(
        label="Who may enqueue",
        choices=[(OPEN, "All workspaces"), (LISTED, "These workspaces:")],
        widget=forms.RadioSelect,
        initial=LISTED,
    )
    workspaces = forms.ModelMultipleChoiceField(
        Workspace.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="What stands in the line already stays there.",
    )
    slots_per_experiment = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_SLOTS,
        label="Slots per experiment",
        help_text="So many trials of one experiment run at once; empty: no limit.",
    )
    slots_per_person = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_SLOTS,
        label="Slots per person",
        help_text="So many trials of all experiments that one person created; empty: no limit.",
    )

    def __init__(self, data: object = None, *, queue: Queue | None = None) -> None:
        super().__init__(data, initial=_initial(queue) if queue else {}, label_suffix="")
        self.is_new = queue is None
        self.fields["workspaces"].queryset = Workspace.objects.order_by("name")
        if queue and queue.is_default:
            self.fields["name"].disabled = self.fields["granted"].disabled = True
            self.fields["name"].help_text = "Every workspace may rely on this queue: it keeps its name."
            del self.fields["workspaces"]

    def clean(self) -> dict[str, object]:
        """A new queue is for somebody; later, none ticked lets nobody new in."""
        given = self.cleaned_data
        if self.is_new and given.get("granted") == LISTED and not given.get("workspaces"):
            self.add_error("granted", "Nobody could use it: tick a workspace, or choose all workspaces.")
        return given

    def grant(self) -> dict[str, object]:
        """The arguments of `Queue.grant`."""
        is_open = self.cleaned_data["granted"] == OPEN
        return {"is_open": is_open, "workspaces": list(self.cleaned_data.get("workspaces", ()))}

    def share(self) -> dict[str, int | None]:
        """The arguments of `Queue.share`."""
        given = self.cleaned_data
        return {"per_experiment": given["slots_per_experiment"], "per_person": given["slots_per_person"]}


def _initial(queue: Queue) -> dict[str, object]:
    return {
        "name": queue.name,
        "granted": OPEN if queue.is_open else LISTED,
        "workspaces": list(queue.workspaces.values_list("pk", flat=True)),
        "slots_per_experiment": queue.slots_per_experiment,
        "slots_per_person": queue.slots_per_person,
    }
