"""Create experiment as a form: what people type on one side, `Settings` on the other."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property

from django import forms
from django.forms import BoundField
from django.forms.utils import ErrorDict

from experiments import filters
from experiments.models import Experiment, Invalid, Project, Queue, Settings, User, Workspace
from experiments.models.execution import PACKAGES_FROM
from experiments.models.experiment.details import Visibility
from experiments.runner.size import in_words
from experiments.search import early_stopping as early_stopping_rules
from experiments.search import engine
from experiments.search.space import Space, SpaceError, parse_text
from experiments.search.validation import Argument
from experiments.web.ui import key_value_rows
from experiments.web.ui.form_fields import (
    ArgumentsField,
    LinesField,
    MemoryField,
    PairsField,
    PointsField,
    QueueField,
    SpanField,
    TagsField,
    span_of,
)

from . import declared_parameters, space_rows

BLANK_ROWS = 3
SPANS = ("max_duration_s", "max_trial_duration_s", "stop_grace_s")

SOURCE_FIELDS = (
    "repository", "reference_kind", "reference", "script", "binary", "diff", "packages_from", "packages", "image",
    "image_arguments", "setup_script", "destination",
)  # fmt: skip
_SETTINGS = [one.name for one in fields(Settings)]


def _text(**given: object) -> forms.CharField:
    attrs = {"autocomplete": "off", **given.pop("attrs", {})}
    return forms.CharField(widget=forms.TextInput(attrs=attrs), **given)


def _number(kind: type[forms.Field] = forms.IntegerField, **given: object) -> forms.Field:
    """A number typed as text: of a number input the browser keeps back what it cannot read, and it is lost."""
    attrs = {"class": "is-num", "inputmode": "decimal", "autocomplete": "off", **given.pop("attrs", {})}
    given.setdefault("error_messages", {"required": "Give a number."})
    return kind(widget=forms.TextInput(attrs=attrs), **given)


def _area(rows: int, placeholder: str = "", css: str = "") -> forms.Textarea:
    return forms.Textarea(
        attrs={"rows": rows, "placeholder": placeholder, "class": css, "spellcheck": "false"}
    )


class ExperimentForm(forms.Form):
    """The description and all settings of an experiment, to create or to edit one.

    `settings` is there when the form is valid, `space` when at least the search space is.
    """

    name = _text(
        max_length=200,
        attrs={"placeholder": "resnet50-cifar100"},
        error_messages={"required": "Give the experiment a name."},
    )
    project = forms.ModelChoiceField(
        None, empty_label=None, widget=forms.Select(attrs={"data-combo": "new_project"})
    )
    new_project = _text(
        required=False,
        max_length=100,
        label="Create new",
        help_text="A new project's name, instead.",
        attrs={"autocomplete": "off"},
    )
    tags = TagsField(
        required=False,
        widget=forms.TextInput(attrs={"placeholder": "baseline, nightly", "autocomplete": "off"}),
        help_text="Separated by commas.",
    )
    visibility = forms.ChoiceField(choices=Visibility.choices, label="Who sees it")
    description = forms.CharField(
        required=False, widget=_area(3, "What it is for, what it is compared with", "is-prose")
    )

    command = forms.CharField(
        strip=False,
        widget=_area(4, "python train.py --lr ${lr} --batch-size ${batch_size}"),
        help_text="A shell script, run line by line until one fails. ${lr} stands for a parameter, "
        "${params} for a JSON file of all, ${output_dir} for a folder that is kept.",
        error_messages={"required": "Give the command that runs one trial, for example: python train.py"},
    )
    passes_arguments = forms.BooleanField(
        required=False,
        label="Pass parameters as arguments",
        help_text="Adds --name value for each parameter to the last line.",
    )
    directory = _text(
        required=False,
        label="Working directory",
        attrs={"placeholder": "/home/me/project", "class": "mono"},
        help_text="On the worker's machine. Empty: a folder of the trial's own.",
    )
    environment = PairsField(
        required=False,
        widget=_area(3, "CUDA_VISIBLE_DEVICES=0"),
        help_text="One NAME=VALUE on each line.",
    )

    repository = _text(
        required=False,
        attrs={"placeholder": "https://example.org/team/code.git", "class": "mono"},
        help_text="Fetched by the worker, with its credentials. Empty: what the worker's machine has.",
    )
    reference_kind = forms.ChoiceField(
        choices=[("branch", "Last commit in a branch"), ("tag", "Tag"), ("commit", "Commit ID")],
        label="Version",
        required=False,
    )
    reference = _text(
        required=False,
        label="Branch, tag or commit",
        attrs={"placeholder": "main", "class": "mono"},
        help_text="An empty branch is the repository's default branch.",
    )
    script = _text(
        required=False,
        attrs={"placeholder": "train.py", "class": "mono"},
        help_text="Run when there is no command; or -m and a module.",
    )
    binary = _text(
        required=False, attrs={"placeholder": "python3.12", "class": "mono"}, help_text="Empty: python."
    )
    diff = forms.CharField(
        required=False,
        strip=False,
        label="Uncommitted changes",
        widget=_area(4, "A diff; without a repository a script of its own."),
    )
    packages_from = forms.ChoiceField(
        choices=list(PACKAGES_FROM.items()), label="Packages from", required=False
    )
    packages = forms.CharField(
        required=False,
        strip=False,
        widget=_area(4, "numpy==2.3.4"),
        help_text="One on each line, for the list only.",
    )
    image = _text(
        required=False,
        label="Container image",
        attrs={"placeholder": "python:3.12", "class": "mono"},
        help_text="For workers in container mode.",
    )
    image_arguments = _text(
        required=False, label="Container arguments", attrs={"placeholder": "--shm-size=1g", "class": "mono"}
    )
    setup_script = forms.CharField(
        required=False,
        strip=False,
        widget=_area(3, "apt-get install -y libgomp1"),
        help_text="Run in the container before the command.",
    )
    destination = _text(
        required=False,
        label="Output destination",
        attrs={"placeholder": "s3://bucket/folder", "class": "mono"},
        help_text="A folder, s3://bucket/…, s3://host:port/bucket, gs://…, azure://…. Empty: that of "
        "the project, the workspace or the installation.",
    )

    space_as = forms.ChoiceField(choices=[("rows", "Rows"), ("json", "JSON")], initial="rows", required=False)
    space_document = forms.CharField(required=False, strip=False, label="Search space")

    metric = _text(required=False, attrs={"placeholder": "default", "class": "mono"})
    direction = forms.ChoiceField(
        choices=[("maximize", "Maximize"), ("minimize", "Minimize")], initial="maximize"
    )
    selection = forms.ChoiceField(
        choices=[
            ("final", "The final result"),
            ("best", "The best of its results"),
            ("average", "The average of its results"),
        ],
        label="A trial's value",
    )
    goal = _number(
        forms.FloatField, required=False, help_text="The experiment is complete when it is reached."
    )
    source = forms.ChoiceField(
        choices=[
            ("sdk", "The script reports it, through trialdeck"),
            ("stdout", "Standard output, by regular expression"),
            ("file", "A JSON file that the script writes"),
        ],
        label="Where it comes from",
        widget=forms.RadioSelect,
        initial="sdk",
    )
    pattern = _text(
        required=False,
        label="Regular expression",
        attrs={"placeholder": "val_accuracy: ([0-9.]+)", "class": "mono"},
        help_text="One group around the number; the last match counts.",
    )
    metric_path = _text(
        required=False,
        label="JSON file",
        attrs={"placeholder": "result.json", "class": "mono"},
        help_text="Relative to the working directory. The metric is a key in it, or a path such as val.accuracy.",
    )
    weights = ArgumentsField(
        required=False,
        widget=_area(2, "val_accuracy=1\nlatency_ms=-0.01"),
        help_text="Several metrics as one: the objective is the sum of each metric times its weight.",
    )

    algorithm = forms.ChoiceField(choices=[(name, name) for name in engine.ALGORITHMS], initial="TPE")
    algorithm_arguments = ArgumentsField(
        required=False, widget=_area(2, "n_startup_trials=20"), label="Arguments of the algorithm"
    )
    fixed = ArgumentsField(
        required=False,
        widget=_area(2, "layers=3"),
        label="Fixed values",
        help_text="Parameters to hold at a value for now: one name=value on each line.",
    )
    constraints = LinesField(
        required=False,
        widget=_area(2, "batch_size * layers <= 256\ndropout > 0 or layers < 3"),
        help_text="What all proposals meet: one condition on each line. A name that contains . - / stands between "
        "`backticks`.",
    )
    starting_points = PointsField(
        required=False,
        widget=_area(3, '{"lr": 0.01, "layers": 3}\n{"lr": 0.001}'),
        label="Starting points",
        help_text="Tried first: one JSON object on each line. What a point leaves out, the algorithm proposes.",
    )
    warm_start = _text(
        required=False,
        label="Warm start",
        attrs={"placeholder": "abcd2345", "class": "mono"},
        help_text="ID of an experiment of this workspace whose results so far inform the search, or of uploaded "
        "results, such as file:abcd2345.",
    )
    seed = _number(help_text="The same seed proposes the same values.")

    max_trials = _number(required=False, initial=50, help_text="Empty: no limit.")
    concurrency = _number(initial=1, label="At once", help_text="Trials that run side by side.")
    max_duration_s = SpanField(
        required=False, label="Max duration", help_text="Of the whole, pauses excluded. Empty: no limit."
    )
    max_trial_duration_s = SpanField(
        required=False, label="Max trial duration", help_text="Then it is ended and counts as failed."
    )
    stop_grace_s = SpanField(
        initial="10s",
        label="Stop grace",
        help_text="Between asking a trial to end and ending it.",
        error_messages={"required": "Give a duration, such as 10s; 0 for none."},
    )
    gpus = _number(
        required=False,
        label="GPUs per trial",
        help_text="Devices of its own, on workers that have some. Empty: not managed; 0: it sees none.",
    )
    cores = _number(
        required=False,
        label="Cores per trial",
        help_text="CPU cores of its own. Empty: it shares all of the worker's.",
    )
    memory_mib = MemoryField(
        required=False,
        label="Memory per trial",
        widget=forms.TextInput(attrs={"class": "is-num", "placeholder": "4 GiB", "autocomplete": "off"}),
        help_text="Reserved for it; one that uses more is ended, where the worker can. Empty: no limit.",
    )
    retries = _number(initial=2, label="Retries", help_text="After a lost worker.")
    breaker = _number(initial=10, label="Pause after", help_text="Failures alike in a row. 0: never.")

    early_stopping = forms.ChoiceField(
        choices=[(name, "None" if name == "none" else name) for name in early_stopping_rules.EARLY_STOPPING],
        label="Rule",
        initial="none",
    )
    early_stopping_arguments = ArgumentsField(
        required=False, widget=_area(2, "start_step=5"), label="Arguments of the rule"
    )

    refusal = "Nothing was made yet"
    known: Experiment | None = None  # whose script it is about

    def __init__(self, data: Mapping | None = None, *, room: Workspace, **given: object) -> None:
        super().__init__(data, label_suffix="", **given)
        self.room = room
        self.settings: Settings | None = None
        self.space: Space | None = None
        told = data or self.initial
        has_code = told.get("script") or (told.get("diff") and not told.get("repository"))
        self.fields["command"].required = not has_code
        self.fields["project"].queryset = room.projects.all()
        for span in SPANS:
            self.fields[span].widget.attrs |= {"class": "is-num", "autocomplete": "off"}
        self.rows = self._rows(data) if data is not None else self._first_rows()
        self.is_checked = not ({"add_row", "drop_row", "add_declared"} & self.data.keys())

    def full_clean(self) -> None:
        """Whoever asks for another row wants no judgement yet."""
        if self.is_checked:
            super().full_clean()
        else:
            self._errors, self.cleaned_data = ErrorDict(), {}

    def clean(self) -> dict:
        cleaned = super().clean()
        self._read_space()
        try:
            self.settings = Settings.checked(self._told(cleaned))
        except Invalid as error:
            self.refuse(error)
        if self.errors:
            self.settings = None
        return cleaned

    @property
    def has_source(self) -> bool:
        """Is any of source, packages, container and output told, or faulty?"""
        named = (name for name in SOURCE_FIELDS if name in self.fields)
        plain = {"", None, "branch", "worker"}
        return any(self[name].value() not in plain or self[name].errors for name in named)

    def is_unasked(self, name: str) -> bool:
        """Was this field not even on the page that was sent? Nobody has emptied it then."""
        return name in SOURCE_FIELDS and name not in self.data

    def _told(self, cleaned: dict) -> dict:
        """The settings as far as they could be read."""
        known = {name: cleaned[name] for name in _SETTINGS if name in cleaned and name not in self.errors}
        if "diff" in known:
            known["diff"] = key_value_rows.plain(known["diff"])
        known["space_document"] = self.space.document if self.space else {}
        for name in ("metric", "reference_kind", "packages_from"):
            if not known.get(name):
                known.pop(name, None)
        return known

    def refuse(self, error: Invalid) -> None:
        """Says what `Invalid` says, each at its field; a field that has a fault already keeps that one."""
        for name, said in error.errors.items():
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, said)

    def describes(self) -> dict[str, object]:
        """Name, project, description, tags, visibility, as they were typed. A new project is made now."""
        said = self.cleaned_data
        told = {name: said[name] for name in ("name", "description", "tags", "visibility")}
        return {**told, "project": project_of(self.room, said)}

    @property
    def heading(self) -> str:
        """What stands over the list of faults."""
        count = len(self.errors)
        return f"{self.refusal}: {count} {'field needs' if count == 1 else 'fields need'} you."

    @property
    def lacking(self) -> list[BoundField]:
        """The fields that must be filled and are still empty."""
        return [self[name] for name in self.errors if name in self.fields and not self._is_typed(name)]

    @property
    def faulty(self) -> list[BoundField]:
        """The fields in which something wrong was typed."""
        return [self[name] for name in self.errors if name in self.fields and self._is_typed(name)]

    def _is_typed(self, name: str) -> bool:
        if name == "space_document" and not self.is_json:
            return any(not row.is_blank for row in self.rows)
        return bool(self[name].value())

    # --- the search space, as rows or as JSON ------------------------------------------------------------

    @property
    def is_json(self) -> bool:
        return self["space_as"].value() == "json"

    @property
    def is_nested(self) -> bool:
        """Is the search space one that rows cannot show?"""
        return self.is_json and bool(self.space.is_nested if self.space else not self.rows)

    @property
    def space_text(self) -> str:
        """What the JSON field shows: what was typed, else the rows."""
        if self.space and not self.is_json:
            return json.dumps(self.space.document, indent=2, ensure_ascii=False)
        return self["space_document"].value() or ""

    @property
    def rows_errors(self) -> list[str]:
        """What is wrong with the rows as a whole: the rest stands at its row."""
        return [] if any(row.errors for row in self.rows) else list(self.errors.get("space_document", []))

    def _rows(self, data: Mapping) -> list[space_rows.Row]:
        """Rows are added and removed here where there is no script."""
        rows = space_rows.typed(data, without=data.get("drop_row", ""))
        asked = data.get("add_declared")
        if offer := next((one for one in self._declared if one.name == asked), None):
            return [row for row in rows if not row.is_blank] + [offer.row]
        if "add_row" in data or not rows:
            rows += [space_rows.Row() for _ in range(BLANK_ROWS)]
        return rows

    @property
    def offers(self) -> list[declared_parameters.Offer]:
        """What else its script was seen to declare."""
        names = {row.name.strip() for row in self.rows}
        return [one for one in self._declared if not declared_parameters.is_taken(one.name, names)]

    @cached_property
    def _declared(self) -> list[declared_parameters.Offer]:
        return declared_parameters.offers(self.known)

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


class NewExperiment(ExperimentForm):
    """Create experiment; with a `parent`, filled with its values."""

    queue = QueueField(None, empty_label=None)
    made_as = forms.UUIDField(widget=forms.HiddenInput, required=False)

    def __init__(
        self,
        data: Mapping | None = None,
        *,
        room: Workspace,
        parent: Experiment | None = None,
        initial: Mapping | None = None,
    ) -> None:
        self.parent = self.known = parent
        filled = {}
        if parent:
            view = space_rows.view_of(parent.settings.space)
            filled = {**described(parent), **typed(parent.revision.as_it_ran), **view, "queue": parent.queue}
        super().__init__(data, room=room, initial={**filled, **(initial or {})})
        self.fields["queue"].queryset = Queue.objects.granted_to(room)
        self.fields["queue"].served = filters.served_queues()
        self.initial.setdefault("project", room.projects.filter(name="Default").first())
        self.initial["queue"] = self.initial.get("queue") or Queue.default()
        self.initial.setdefault("seed", secrets.randbelow(10_000))
        self.initial.setdefault("made_as", uuid.uuid4())

    def _told(self, cleaned: dict) -> dict:
        """What this form does not ask for, a clone has from its parent."""
        told = self.parent.revision.as_it_ran.document() if self.parent else {}
        unasked = {name for name in told if name not in self.fields or self.is_unasked(name)}
        typed = super()._told(cleaned)
        if "diff" in typed:
            typed["diff"] = key_value_rows.kept(typed["diff"], stored=told.get("diff"))
        return {**typed, **{name: told[name] for name in unasked}}

    def make(self, *, by: User) -> Experiment:
        """The draft. Raises `Invalid` or `Refused`."""
        return Experiment.draft(
            self.room,
            by=by,
            settings=self.settings,
            parent=self.parent,
            queue=self.cleaned_data["queue"],
            **self.describes(),
        )

    def _first_rows(self) -> list[space_rows.Row]:
        if self.parent:
            return space_rows.rows_of(self.parent.settings.space_document)
        return [space_rows.Row(type=kind) for kind in ("loguniform", "choice", "uniform")]


def project_of(room: Workspace, said: Mapping) -> Project:
    """The chosen project, or the one that is named anew (made when there is none of that name yet)."""
    name = " ".join((said.get("new_project") or "").split())
    return room.projects.get_or_create(name=name)[0] if name else said["project"]


def described(experiment: Experiment) -> dict[str, object]:
    """What describes an experiment, as a person would type it."""
    return {
        "name": experiment.name,
        "project": experiment.project_id,
        "tags": ", ".join(experiment.tags),
        "visibility": experiment.visibility,
        "description": experiment.description,
    }


def typed(settings: Settings) -> dict[str, object]:
    """Settings as a person would type them."""
    told = settings.document()
    for name in SPANS:
        told[name] = span_of(told[name])
    told["memory_mib"] = "" if settings.memory_mib is None else in_words(settings.memory_mib)
    told["environment"] = "\n".join(f"{name}={text}" for name, text in told["environment"].items())
    told["starting_points"] = "\n".join(
        json.dumps(one, ensure_ascii=False) for one in settings.starting_points
    )
    told["constraints"] = "\n".join(settings.constraints)
    for name in ("weights", "algorithm_arguments", "fixed", "early_stopping_arguments"):
        told[name] = "\n".join(f"{key}={space_rows.text_of([one])}" for key, one in told[name].items())
    told["space_document"] = json.dumps(settings.space_document, indent=2, ensure_ascii=False)
    return told


def arguments_of(arguments: tuple[Argument, ...]) -> list[dict]:
    """What an algorithm or a rule takes, for the help beside its field."""
    return [
        {
            "name": one.name,
            "default": "…" if one.default is None else json.dumps(one.default),
            "meaning": one.meaning,
        }
        for one in arguments
    ]
