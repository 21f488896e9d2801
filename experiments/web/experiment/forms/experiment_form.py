"""The form of an experiment: converts between typed text and `Settings`. The base of the create and edit forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self, TypedDict

from django.forms import BoundField
from django.forms.utils import ErrorDict

from experiments.messages import plural
from experiments.models import Experiment, Invalid, Project, Settings, Workspace
from experiments.models.settings.warnings import settings_warnings
from experiments.runner.memory_size import format_mebibytes
from experiments.search import early_stopping, engine
from experiments.search.space import Space, SpaceError, parse_text
from experiments.search.validation import Argument
from experiments.web.ui import env_lines, key_value_rows
from experiments.web.ui.form_fields import SHOWN, DefaultOn, span_of

from . import declared_parameters, space_rows
from .project_choice import chosen_project
from .sections import (
    SECTIONS,
    BudgetFields,
    CommandFields,
    DescriptionFields,
    EarlyStoppingFields,
    ObjectiveFields,
    SearchFields,
    SourceFields,
    SpaceFields,
)
from .steps import Problem, Step, problems_of, steps_of

BLANK_ROWS = 3
# Buttons that only fill in or change a part of the form; the page then shows no errors.
UNCHECKED = frozenset({"add_row", "drop_row", "add_declared", "read_arguments", "use_metric", "use_number"})
SPANS = ("max_duration_s", "max_trial_duration_s", "stop_grace_s")
SOURCE_FIELDS = tuple(SourceFields.base_fields)
STYLE_FIELDS = ("argument_style", "boolean_style", "list_style")

_SETTINGS = [setting.name for setting in fields(Settings)]


class Details(TypedDict):
    """The arguments of `Experiment.describe` and `Experiment.draft` that are not settings."""

    name: str
    description: str
    tags: list[str]
    visibility: str
    project: Project


class ExperimentForm(
    DescriptionFields,
    CommandFields,
    SourceFields,
    SpaceFields,
    ObjectiveFields,
    SearchFields,
    BudgetFields,
    EarlyStoppingFields,
):
    """The description and all settings of an experiment.

    `settings` is set when the form is valid, `space` as soon as the search space is.
    """

    field_order = [name for section in SECTIONS for name in section.base_fields]

    aim = "save the changes"  # completes "Fix 2 fields to …"
    has_ticks = False  # whether each row has a checkbox for whether it is searched
    source_experiment: Experiment | None = None  # its script declares the offered parameters

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, workspace: Workspace, initial: Mapping[str, Any]
    ) -> None:
        super().__init__(data, label_suffix="", initial=dict(initial))
        self.workspace = workspace
        self.settings: Settings | None = None
        self.space: Space | None = None
        values = data or self.initial
        has_code = values.get("script") or (values.get("diff") and not values.get("repository"))
        self.fields["command"].required = not has_code
        self.offer_projects(workspace)
        for name in SPANS:
            self.fields[name].widget.attrs |= {"class": "is-num", "autocomplete": "off"}
        self.dropped_rows: list[space_rows.Row] = []  # blank rows, replaced by an offered parameter
        self.rows = self._posted_rows(data) if data is not None else self.initial_rows()
        self.added_rows = [row for row in self.rows if row.place is None]
        key_value_rows.give_places(self.rows)
        self.is_validated = not (UNCHECKED & self.data.keys())

    def checked_copy(self) -> Self:
        """Return a validated form with the same input; this form itself may not show errors yet."""
        copy = self._copy({name: value for name, value in self.data.items() if name not in UNCHECKED})
        copy.errors  # noqa: B018 (validates it)
        return copy

    def _copy(self, data: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def take_scales(self, other: ExperimentForm) -> None:
        """Copy the drawn samples from another form with the same rows."""
        for row, drawn in zip(self.rows, other.rows, strict=True):
            row.scale = drawn.scale

    def initial_rows(self) -> list[space_rows.Row]:
        """The rows of the search space on an unposted page."""
        return []

    def full_clean(self) -> None:
        """Validate, except in a request that only adds or removes a row."""
        if self.is_validated:
            super().full_clean()
        else:
            self._errors, self.cleaned_data = ErrorDict(), {}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        self._read_space()
        try:
            self.settings = Settings.checked(self._settings_document(cleaned))
        except Invalid as invalid:
            self.add_errors(invalid)
        if self.errors:
            self.settings = None
        return cleaned

    @property
    def valid_settings(self) -> Settings:
        """The settings of a valid form."""
        if self.settings is None:
            raise ValueError("the form is not valid")
        return self.settings

    @property
    def warnings(self) -> list[tuple[BoundField, str]]:
        """Warnings by field about valid values that are likely to give wrong results."""
        values = self.cleaned_data if self.is_bound else self.initial
        return [
            (self[name], sentence)
            for name, sentence in settings_warnings(values).items()
            if name in self.fields
        ]

    @property
    def steps(self) -> list[Step]:
        """The steps of the page that creates it, with their states."""
        return steps_of(self)

    @property
    def problems(self) -> list[Problem]:
        """What prevents saving, in the order of the page."""
        return problems_of(self)

    @property
    def has_source(self) -> bool:
        """Whether a field of source, packages, container or output is filled in or has an error."""
        names = (name for name in SOURCE_FIELDS if name in self.fields)
        defaults = {"", None, "branch", "worker"}
        return any(self[name].value() not in defaults or self[name].errors for name in names)

    def is_absent(self, name: str) -> bool:
        """Return whether this field was missing in the request, as opposed to posted empty."""
        if isinstance(self.fields[name].widget, DefaultOn):
            return name not in self.data and f"{name}{SHOWN}" not in self.data
        return name in (*SOURCE_FIELDS, *STYLE_FIELDS) and name not in self.data

    def _settings_document(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that could be read, by name."""
        values = {name: cleaned[name] for name in _SETTINGS if name in cleaned and name not in self.errors}
        if "diff" in values:
            values["diff"] = key_value_rows.plain(values["diff"])
        values["space_document"] = self.space.document if self.space else {}
        for name in ("metric", "reference_kind", "packages_from", *STYLE_FIELDS):
            if not values.get(name):
                values.pop(name, None)
        return values

    def add_errors(self, invalid: Invalid) -> None:
        """Add each error to its field, unless the field already has an error."""
        for name, sentences in invalid.errors.items():
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, sentences)

    def details(self) -> Details:
        """Return name, description, tags, visibility and project. A new project is created now."""
        cleaned = self.cleaned_data
        return {
            "name": cleaned["name"],
            "description": cleaned["description"],
            "tags": cleaned["tags"],
            "visibility": cleaned["visibility"],
            "project": chosen_project(self.workspace, cleaned),
        }

    @property
    def heading(self) -> str:
        """The heading of the list of errors."""
        return f"Fix {plural(len(self.errors), 'field')} to {self.aim}"

    @property
    def missing_fields(self) -> list[BoundField]:
        """The required fields that are still empty."""
        return [self[name] for name in self.errors if name in self.fields and not self._is_filled(name)]

    @property
    def invalid_fields(self) -> list[BoundField]:
        """The fields whose content is invalid."""
        return [self[name] for name in self.errors if name in self.fields and self._is_filled(name)]

    def _is_filled(self, name: str) -> bool:
        if name == "space_document" and not self.is_json:
            return any(not row.is_blank for row in self.rows)
        return bool(self[name].value())

    # --- the search space, as rows or as JSON ------------------------------------------------------------

    @property
    def is_json(self) -> bool:
        return bool(self["space_as"].value() == "json")

    @property
    def shows_json(self) -> bool:
        """Whether the JSON view is shown. A nested search space has no rows to turn to."""
        turned = self.data.get("turned")
        return self.is_json if turned not in ("rows", "json") else turned == "json" or self.is_nested

    @property
    def focus(self) -> key_value_rows.Focus:
        """The element to focus after a row was added or removed."""
        return key_value_rows.focus_after(self.data, self.rows, added=self._adds)

    @property
    def is_nested(self) -> bool:
        """Whether rows cannot show this search space."""
        return self.is_json and bool(self.space.is_nested if self.space else not self.rows)

    @property
    def space_text(self) -> str:
        """The content of the JSON field: the typed text, else the rows as JSON."""
        if self.space and not self.is_json:
            return json.dumps(self.space.document, indent=2, ensure_ascii=False)
        return self["space_document"].value() or ""

    @property
    def rows_errors(self) -> list[str]:
        """The errors of the rows as a whole; the others are on their row."""
        if any(row.errors for row in self.rows):
            return []
        return [str(error) for error in self.errors.get("space_document", [])]

    def _posted_rows(self, data: Mapping[str, Any]) -> list[space_rows.Row]:
        """Return the rows of a request, with its button's row added or removed. htmx adds one at a time."""
        rows = space_rows.typed(data, without=data.get("drop_row", ""))
        added_name = data.get("add_declared")
        if offer := next((offer for offer in self._offers_beside(rows) if offer.name == added_name), None):
            self.dropped_rows = [row for row in rows if row.is_blank]
            return [row for row in rows if not row.is_blank] + [offer.row]
        if "add_row" in data or not rows:
            rows += [space_rows.Row() for _ in range(self._adds)]
        return rows

    @property
    def _adds(self) -> int:
        return 1 if self.data.get("add_row") == "one" else BLANK_ROWS

    @property
    def offers(self) -> list[declared_parameters.Offer]:
        """The parameters that the script declares and the search space lacks."""
        return self._offers_beside(self.rows)

    def _offers_beside(self, rows: Sequence[space_rows.Row]) -> list[declared_parameters.Offer]:
        names = {row.name.strip() for row in rows}
        return [offer for offer in self._declared if not declared_parameters.is_taken(offer.name, names)]

    @cached_property
    def _declared(self) -> list[declared_parameters.Offer]:
        return declared_parameters.offers(self.source_experiment)

    def _read_space(self) -> None:
        try:
            if self.cleaned_data.get("space_as") == "json":
                self.space = parse_text(self.cleaned_data.get("space_document") or "{}")
                self.rows = space_rows.rows_of(self.space.document)
            else:
                self.space = space_rows.read(self.rows)
        except SpaceError as error:
            if "space_document" not in self.errors:
                self.add_error("space_document", [str(fault) for fault in error.faults])


def description_values(experiment: Experiment) -> dict[str, Any]:
    """Return name, project, tags, visibility and description as form values."""
    return {
        "name": experiment.name,
        "project": experiment.project_id,
        "tags": ", ".join(experiment.tags),
        "visibility": experiment.visibility,
        "description": experiment.description,
    }


def settings_values(settings: Settings) -> dict[str, Any]:
    """Return settings as form values, written as a person would type them."""
    values = settings.document()
    for name in SPANS:
        values[name] = span_of(values[name])
    values["memory_mib"] = "" if settings.memory_mib is None else format_mebibytes(settings.memory_mib)
    values["environment"] = "\n".join(env_lines.written(*pair) for pair in settings.environment.items())
    values["starting_points"] = "\n".join(
        json.dumps(point, ensure_ascii=False) for point in settings.starting_points
    )
    values["constraints"] = "\n".join(settings.constraints)
    pairs = ("further_objectives", "weights", "algorithm_arguments", "fixed", "early_stopping_arguments")
    for name in pairs:
        values[name] = "\n".join(f"{key}={space_rows.text_of([each])}" for key, each in values[name].items())
    values["space_document"] = json.dumps(settings.space_document, indent=2, ensure_ascii=False)
    return values


# --- the help beside a choice ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArgumentHelp:
    """One argument of an algorithm or of an early-stopping rule."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class ChoiceHelp:
    """A description of an algorithm or early-stopping rule, and its arguments."""

    name: str
    summary: str
    arguments: list[ArgumentHelp]


def algorithm_help(*, only: str | None = None) -> list[ChoiceHelp]:
    """Return the help of every algorithm, or of `only` this one."""
    return [
        ChoiceHelp(name, algorithm.summary, _argument_help(algorithm.arguments))
        for name, algorithm in engine.ALGORITHMS.items()
        if only in (None, name)
    ]


def early_stopping_help() -> list[ChoiceHelp]:
    """Return the help of every early-stopping rule."""
    return [
        ChoiceHelp(name, rule.summary, _argument_help(rule.arguments))
        for name, rule in early_stopping.EARLY_STOPPING.items()
    ]


def _argument_help(arguments: tuple[Argument, ...]) -> list[ArgumentHelp]:
    return [
        ArgumentHelp(
            argument.name,
            "…" if argument.default is None else json.dumps(argument.default),
            argument.meaning,
        )
        for argument in arguments
    ]
