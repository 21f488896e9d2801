"""The preview of one study: what will be created, and a form for the choices that the file leaves open."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from experiments.messages import plural
from experiments.models import HistoryImport, Project, status
from experiments.search.imports.tables import METRIC, PARAMETER, SKIPPED
from experiments.transfer import choices as import_choices
from experiments.web.ui.form_fields import field_of

MOST_ROWS = 200  # parameters, and columns, on the page
MOST_METRICS = 300  # in the list to choose from
ROLE_LABELS = ((PARAMETER, "Parameter"), (METRIC, "Metric"), (SKIPPED, "Ignore"))


class ConfirmForm(forms.Form):
    """The choices for a study, with fields for the metric and its direction if the file does not have them."""

    name = forms.CharField(max_length=200, error_messages={"required": "Enter a name."})
    project = forms.ModelChoiceField(Project.objects.none(), empty_label=None)
    metric = forms.ChoiceField(label="Objective metric")
    direction = forms.ChoiceField()

    def __init__(self, row: HistoryImport, study: dict[str, Any], data: Mapping[str, Any] | None) -> None:
        super().__init__(data, label_suffix="")
        self.row, self.study = row, study
        projects = row.workspace.projects.all()
        field_of(self, "project", forms.ModelChoiceField).queryset = projects
        self.fields["project"].initial = projects.filter(name="Default").first()
        self.fields["name"].initial = study["name"]
        metrics = [metric["name"] for metric in study["metrics"]][:MOST_METRICS]
        objective = study["objective"] or (metrics[0] if len(metrics) == 1 else "")
        if self.is_own:
            del self.fields["metric"], self.fields["direction"]
            return
        field_of(self, "metric", forms.ChoiceField).choices = _with_blank(
            [(name, name) for name in metrics], "Select a metric", stated=objective
        )
        self.fields["metric"].initial = objective
        self.fields["metric"].error_messages["required"] = "Select the objective metric."
        stated = study["directions"].get(objective, "")
        field_of(self, "direction", forms.ChoiceField).choices = _with_blank(
            [("maximize", "Maximize"), ("minimize", "Minimize")], "Select a direction", stated=stated
        )
        self.fields["direction"].initial = stated
        self.fields["direction"].error_messages["required"] = (
            "Select whether the metric is maximized or minimized: the file does not specify it."
        )

    @property
    def is_own(self) -> bool:
        """Whether the settings are in the file."""
        return self.row.format == import_choices.OWN

    @property
    def rereads(self) -> bool:
        """Whether the button below the columns was pressed."""
        return "read" in self.data

    @property
    def roles(self) -> dict[str, str]:
        """The posted roles of columns."""
        sent = {
            column: str(self.data.get(f"role-{place}", ""))
            for place, (column, _) in enumerate(self.study["columns"])
        }
        return {column: role for column, role in sent.items() if role}

    @property
    def chosen(self) -> list[str] | None:
        """The selected parameters; None: all."""
        if not self.is_bound or self.is_own:
            return None
        ticked = {
            row["source"]
            for place, row in enumerate(self.study["parameters"])
            if place >= MOST_ROWS or f"parameter-{place}" in self.data
        }
        return [row["source"] for row in self.study["parameters"] if row["source"] in ticked]

    def full_clean(self) -> None:
        super().full_clean()
        if self.is_bound and self.rereads:  # the other choices follow after that
            self._errors = forms.utils.ErrorDict()

    def choices(self) -> dict[str, Any]:
        """Return the choices as an import stores them. Raise `Invalid`."""
        return import_choices.checked(
            self.row.preview,
            file_format=self.row.format,
            study=self.study["id"],
            metric=self.cleaned_data.get("metric", ""),
            direction=self.cleaned_data.get("direction", ""),
            parameters=self.chosen,
            name=self.cleaned_data["name"],
        )


def _with_blank(pairs: list[tuple[str, str]], blank: str, *, stated: str) -> list[tuple[str, str]]:
    return pairs if stated else [("", blank), *pairs]


def preview_of(row: HistoryImport, form: ConfirmForm) -> dict[str, Any]:
    """Return the template context of a study."""
    study = form.study
    chosen = form.chosen
    states = [
        (status.TRIAL_STATES[state], count)
        for state, count in sorted(study["states"].items(), key=lambda pair: -pair[1])
    ]
    parameters = [
        {
            **parameter,
            "place": place,
            "range": range_of(parameter["definition"]),
            "is_kept": chosen is None or parameter["source"] in chosen,
        }
        for place, parameter in enumerate(study["parameters"][:MOST_ROWS])
    ]
    return {
        "study": study,
        "studies": row.preview["studies"] if len(row.preview["studies"]) > 1 else [],
        "states": states,
        "parameters": parameters,
        "hidden": max(0, len(study["parameters"]) - MOST_ROWS),
        "columns": [
            {"place": place, "name": column, "role": form.roles.get(column, role) if form.is_bound else role}
            for place, (column, role) in enumerate(study["columns"][:MOST_ROWS])
        ],
        "roles": ROLE_LABELS,
        "left_out": [(description, count) for description, count in study["left_out"]],
        "trials": plural(study["trials"], "trial"),
    }


def range_of(definition: dict[str, Any] | None) -> str:
    """Return a definition in short: `loguniform 0.0001 – 0.1`, `choice adam, sgd`."""
    if not definition:
        return ""
    values = definition["_value"]
    if definition["_type"] == "choice":
        samples = [value if isinstance(value, str) else json.dumps(value) for value in values[:6]]
        more = f" and {len(values) - 6:,} more" if len(values) > 6 else ""
        return f"choice {', '.join(word[:40] for word in samples)}{more}"
    low, high, *step = values
    high = high - 1 if definition["_type"] in ("randint", "lograndint") else high
    by = f", step {step[0]:g}" if step else ""
    return f"{definition['_type']} {low:g} – {high:g}{by}"
