"""The form of an existing experiment: all settings of a draft, or what an update may change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.forms.models import ModelChoiceIterator

from experiments.filters import experiment_lists
from experiments.models import Experiment, ExperimentState, Queue, Settings
from experiments.models.settings import LOCKED
from experiments.web.experiment.edit.settings_diff import text_of
from experiments.web.ui.form_fields import QueueField, field_of
from experiments.web.ui.setting_labels import label_of

from . import space_rows
from .experiment_form import ExperimentForm, description_values, settings_values
from .sections import text_input


class EditForm(ExperimentForm):
    """The form of an existing experiment, filled with its values or with those of an earlier revision (`shown`).

    An untouched field keeps its stored value, because parsing it from the page could round it.
    """

    queue = QueueField(None, required=False)
    stop_surplus = forms.BooleanField(
        required=False,
        label="Stop excess trials now",
        help_text="Otherwise running trials finish.",
    )
    apply_to_running = forms.BooleanField(
        required=False,
        label="Apply to running trials",
        help_text="Otherwise running trials keep the rule of their revision.",
    )
    note = forms.CharField(
        required=False,
        max_length=200,
        label="Reason",
        widget=text_input(),
        help_text="Shown in the activity and with the revision.",
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)
    seen_description = forms.CharField(widget=forms.HiddenInput, required=False)

    aim = "save the changes"

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        experiment: Experiment,
        shown: Settings | None = None,
    ) -> None:
        self.experiment = self.source_experiment = experiment
        self.current = experiment.settings
        self.is_update = experiment.state != ExperimentState.DRAFT
        self.has_ticks = not self.is_update
        locked = {name: getattr(self.current, name) for name in LOCKED} if self.is_update else {}
        self.shown = Settings.stored({**(shown or self.current).document(), **locked})
        initial = {
            **description_values(experiment),
            **settings_values(self.shown),
            **space_rows.view_of(self.shown.space),
            "seen": experiment.revision.number,
            "seen_description": description_digest(experiment),
        }
        super().__init__(data, workspace=experiment.workspace, initial=initial)
        for name in LOCKED if self.is_update else ("stop_surplus", "apply_to_running"):
            self.fields.pop(name, None)
        self._offer_queues()
        self._mark_changes()

    def _offer_queues(self) -> None:
        """Offer the other queues. Blank means the current one, so that an outdated page moves nothing back."""
        current, field = self.experiment.queue, field_of(self, "queue", QueueField)
        field.queryset = Queue.objects.granted_to(self.workspace)
        field.empty_label = f"{current} (current)" if current else "None"
        field.served = experiment_lists.served_queues()
        # The second request of a double click has the queue that the first one moved to: accepted, but not offered.
        offered = ModelChoiceIterator(field)
        field.choices = [
            (key, label) for key, label in offered if current is None or str(key) != str(current.pk)
        ]
        field.help_text = (
            "Trials that have not started move to the end of this queue."
            if self.is_update
            else "Where the experiment will run."
        )

    def _copy(self, data: Mapping[str, Any]) -> EditForm:
        return EditForm(data, experiment=self.experiment, shown=self.shown)

    def initial_rows(self) -> list[space_rows.Row]:
        return space_rows.rows_of(self.shown.space_document)

    @property
    def new_queue(self) -> Queue | None:
        """The queue to move to, when another one was chosen."""
        if not (self.is_bound and self.is_validated):
            return None
        queue: Queue | None = self.cleaned_data.get("queue")
        return queue if queue != self.experiment.queue else None

    @property
    def is_stale(self) -> bool:
        """Whether someone changed the experiment after this page was rendered."""
        seen = (self.data.get("seen"), self.data.get("seen_description"))
        return seen != (str(self.experiment.revision.number), description_digest(self.experiment))

    @property
    def is_already_saved(self) -> bool:
        """Whether the experiment already has all of these values."""
        if not self.is_valid() or self.is_other_project or self.new_queue:
            return False
        is_same = self.settings == self.current
        described = description_values(self.experiment).keys() - {"project"}
        return is_same and not any(self._is_touched(name) for name in described)

    def clean(self) -> dict[str, Any]:
        for name in self.current.document():
            if name in self.errors and not self._is_touched(name):
                del self.errors[name]
        cleaned = super().clean()
        for name, reason in LOCKED.items() if self.is_update else ():
            if name in self.data and self.data[name] != getattr(self.current, name):
                self.add_error(None, f"{label_of(name)}: {reason}")
        if self.errors:
            self.settings = None
        return cleaned

    def _settings_document(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        values = super()._settings_document(cleaned)
        for name, value in self.shown.document().items():
            if name not in self.fields or self.is_absent(name) or not self._is_touched(name):
                values[name] = value
        return values

    def _read_space(self) -> None:
        if self._is_space_touched():
            super()._read_space()
        else:
            self.space = self.shown.space

    def _is_touched(self, name: str) -> bool:
        if name == "space_document":
            return self._is_space_touched()
        value = self.fields[name].widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
        return comparable(value) != comparable(self.initial.get(name))

    def _is_space_touched(self) -> bool:
        if self.is_json:
            return comparable(self.data.get("space_document")) != comparable(self.initial["space_document"])
        return filled_rows(self.rows) != filled_rows(self.initial_rows())

    def _mark_changes(self) -> None:
        """Show the current value next to each field with a different value."""
        self.changed_names: set[str] = set()
        if not self.is_bound and self.shown == self.current:
            return
        current = settings_values(self.current)
        for name, field in self.fields.items():
            if name in current and comparable(self[name].value()) != comparable(current[name]):
                self.changed_names.add(name)
                before = text_of(name, getattr(self.current, name)).replace("\n", " ")
                # The bound field is cached and is what the page renders.
                self[name].help_text = f"Was {before[:60]}. {field.help_text}"


def comparable(value: object) -> object:
    """Return a control's value in a form that compares equal to its rendered value."""
    if value is None:
        return ""
    return value if isinstance(value, bool) else str(value).replace("\r\n", "\n").replace("\r", "\n")


def filled_rows(rows: list[space_rows.Row]) -> list[tuple[str, str, str]]:
    """Return (name, type, values) of the rows that are not blank."""
    return [(row.name, row.type, row.values) for row in rows if not row.is_blank]


def description_digest(experiment: Experiment) -> str:
    """Return a digest of name, project, description, tags and visibility, which have no revisions."""
    return hashlib.sha256(json.dumps(description_values(experiment)).encode()).hexdigest()[:16]
