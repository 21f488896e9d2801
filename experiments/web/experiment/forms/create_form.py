"""The form of Create experiment, which a clone fills with the values of its parent."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django import forms
from django.utils.timezone import get_current_timezone_name

from experiments.filters import experiment_lists
from experiments.models import Experiment, Queue, User, Workspace
from experiments.models.settings.settings import Settings, draw_seed
from experiments.web.ui import key_value_rows
from experiments.web.ui.form_fields import QueueField, field_of

from . import space_rows
from .experiment_form import ExperimentForm, description_values, settings_values


class CreateForm(ExperimentForm):
    """Create experiment; with a `parent`, filled with its values."""

    queue = QueueField(None, empty_label=None)
    submission = forms.UUIDField(widget=forms.HiddenInput, required=False)

    aim = "create the experiment"
    has_ticks = True

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        workspace: Workspace,
        parent: Experiment | None = None,
        initial: Mapping[str, Any] | None = None,
        advised: Settings | None = None,
    ) -> None:
        """`advised` are the parent's settings with a proposed change, which the form then shows."""
        self.parent = self.source_experiment = parent
        self.advised = advised
        values: dict[str, Any] = {}
        if parent:
            values |= description_values(parent)
            values |= settings_values(parent.revision.as_it_ran)
            values |= space_rows.view_of(parent.settings.space)
            values["queue"] = parent.queue
        if parent and advised:
            former = parent.settings.document()
            changed = {name for name, value in advised.document().items() if value != former[name]}
            values |= {name: value for name, value in settings_values(advised).items() if name in changed}
            values |= space_rows.view_of(advised.space)
        super().__init__(data, workspace=workspace, initial={**values, **(initial or {})})
        # A test run shows the numbers in the log to choose from.
        self.fields["metric"].required = "try" not in self.data
        self.fields["metric"].error_messages["required"] = (
            "Enter the metric to optimize, for example accuracy."
        )
        queue = field_of(self, "queue", QueueField)
        queue.queryset = Queue.objects.granted_to(workspace)
        queue.served = experiment_lists.served_queues()
        self.initial.setdefault("project", workspace.projects.filter(name="Default").first())
        self.initial["queue"] = self.initial.get("queue") or Queue.default()
        self.initial.setdefault("seed", draw_seed())
        self.initial.setdefault("window_time_zone", get_current_timezone_name())
        self.initial.setdefault("submission", uuid.uuid4())

    def _settings_document(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that could be read; a clone inherits those without a field from its parent."""
        inherited = self.parent.revision.as_it_ran.document() if self.parent else {}
        missing = {name for name in inherited if name not in self.fields or self.is_absent(name)}
        values = super()._settings_document(cleaned)
        if "diff" in values:
            values["diff"] = key_value_rows.unless_unchanged(values["diff"], stored=inherited.get("diff"))
        return {**values, **{name: inherited[name] for name in missing}}

    def create(self, *, by: User) -> Experiment:
        """Create the draft. Raises `Invalid` or `Refused`."""
        return Experiment.draft(
            self.workspace,
            by=by,
            settings=self.valid_settings,
            parent=self.parent,
            queue=self.cleaned_data["queue"],
            **self.details(),
        )

    def initial_rows(self) -> list[space_rows.Row]:
        if self.parent:
            return space_rows.rows_of((self.advised or self.parent.settings).space_document)
        return [space_rows.Row(type=kind) for kind in ("loguniform", "choice", "uniform")]

    def initial_data(self) -> dict[str, str]:
        """Return the data that a browser would post from the untouched form."""
        data = {}
        for name, field in self.fields.items():
            value = field.prepare_value(self.get_initial_for_field(field, name))
            if isinstance(field, forms.BooleanField):
                if value:
                    data[name] = "on"
            elif value is not None:
                data[name] = str(value)
            elif type(field) is forms.ChoiceField and isinstance(field.widget, forms.Select):
                options = cast("Iterable[tuple[str, str]]", field.choices)
                data[name] = next(iter(options))[0]  # which the browser selects
        return data

    def _copy(self, data: Mapping[str, Any]) -> CreateForm:
        return CreateForm(data, workspace=self.workspace, parent=self.parent)
