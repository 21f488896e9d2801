"""The fields of the experiment forms, one class per section of the page."""

from __future__ import annotations

from typing import Any

from django import forms

from experiments.models.experiment.base import Visibility
from experiments.models.settings.execution import PACKAGES_FROM
from experiments.runner.arguments import BOOLEANS, LISTS, STYLES
from experiments.search import early_stopping as early_stopping_rules
from experiments.search import engine
from experiments.web.ui.form_fields import (
    ArgumentsField,
    DefaultOn,
    LinesField,
    MemoryField,
    PairsField,
    PointsField,
    SpanField,
    TagsField,
)

from .project_choice import ProjectChoice

METRIC_SOURCES = [
    ("sdk", "Reported by the script (trialdeck SDK)"),
    ("stdout", "Standard output (regular expression)"),
    ("file", "JSON file written by the script"),
]
REFERENCE_KINDS = [("branch", "Last commit of a branch"), ("tag", "Tag"), ("commit", "Commit ID")]


def text_input(placeholder: str = "", css: str = "") -> forms.TextInput:
    """Return a single-line input without browser suggestions."""
    attrs = {"placeholder": placeholder, "class": css, "autocomplete": "off"}
    return forms.TextInput(attrs={name: text for name, text in attrs.items() if text})


def number_input() -> forms.TextInput:
    """Return a text input for a number: a number input does not send what the browser cannot parse, and the typed text
    would be lost."""
    return forms.TextInput(attrs={"class": "is-num", "inputmode": "decimal", "autocomplete": "off"})


def text_area(rows: int, placeholder: str = "", css: str = "") -> forms.Textarea:
    """Return a text area without spell checking."""
    return forms.Textarea(
        attrs={"rows": rows, "placeholder": placeholder, "class": css, "spellcheck": "false"}
    )


def _integer(**options: Any) -> forms.IntegerField:
    return forms.IntegerField(
        widget=number_input(), error_messages={"required": "Enter a number."}, **options
    )


class DescriptionFields(ProjectChoice):
    """Name, project, tags, visibility and description, which have no revisions."""

    name = forms.CharField(
        max_length=200,
        widget=text_input("resnet50-cifar100"),
        error_messages={"required": "Enter a name."},
    )
    tags = TagsField(required=False, widget=text_input("baseline, nightly"), help_text="Separated by commas.")
    visibility = forms.ChoiceField(choices=Visibility.choices, label="Visibility")
    description = forms.CharField(required=False, widget=text_area(3, "Purpose, baseline, links", "is-prose"))


class CommandFields(forms.Form):
    """A trial's command and its environment."""

    command = forms.CharField(
        strip=False,
        widget=text_area(4, "python train.py --lr ${lr} --batch-size ${batch_size}"),
        help_text="Shell script that stops at the first failing line. ${lr} inserts a parameter, ${params} a JSON file "
        "of all parameters, ${output_dir} the output folder.",
        error_messages={"required": "Enter the command that runs one trial, for example python train.py"},
    )
    pipefail = forms.BooleanField(
        required=False,
        initial=True,
        widget=DefaultOn,
        label="Fail when any part of a pipe fails",
        help_text="As with set -o pipefail: python train.py | tee log fails if train.py fails.",
    )
    passes_arguments = forms.BooleanField(
        required=False,
        label="Pass parameters as arguments",
        help_text="Appends --name value for each parameter to the last line.",
    )
    argument_style = forms.ChoiceField(choices=list(STYLES.items()), initial="option", required=False)
    boolean_style = forms.ChoiceField(
        choices=list(BOOLEANS.items()), initial="value", required=False, label="Booleans"
    )
    list_style = forms.ChoiceField(choices=list(LISTS.items()), initial="json", required=False, label="Lists")
    directory = forms.CharField(
        required=False,
        label="Working directory",
        widget=text_input("/home/me/project", "mono"),
        help_text="Path on the worker's machine. Blank = a new folder per trial.",
    )
    environment = PairsField(
        required=False,
        widget=text_area(3, "CUDA_VISIBLE_DEVICES=0"),
        help_text="One NAME=VALUE per line, as in a .env file.",
    )


class SourceFields(forms.Form):
    """Source code, packages, container and output destination."""

    repository = forms.CharField(
        required=False,
        widget=text_input("https://example.org/team/code.git", "mono"),
        help_text="Cloned by the worker with its own credentials. Blank = code on the worker's machine.",
    )
    reference_kind = forms.ChoiceField(choices=REFERENCE_KINDS, label="Version", required=False)
    reference = forms.CharField(
        required=False,
        label="Branch, tag or commit",
        widget=text_input("main", "mono"),
        help_text="Blank = the default branch.",
    )
    script = forms.CharField(
        required=False,
        widget=text_input("train.py", "mono"),
        help_text="Runs when the command is blank. A file, or -m and a module.",
    )
    binary = forms.CharField(
        required=False, widget=text_input("python3.12", "mono"), help_text="Blank = python."
    )
    diff = forms.CharField(
        required=False,
        strip=False,
        label="Uncommitted changes",
        widget=text_area(4, "A diff, or a complete script if there is no repository"),
    )
    packages_from = forms.ChoiceField(
        choices=list(PACKAGES_FROM.items()), label="Packages from", required=False
    )
    packages = forms.CharField(
        required=False,
        strip=False,
        widget=text_area(4, "numpy==2.3.4"),
        help_text="One requirement per line. Used only with a package list.",
    )
    image = forms.CharField(
        required=False,
        label="Container image",
        widget=text_input("python:3.12", "mono"),
        help_text="Used by workers in container mode.",
    )
    image_arguments = forms.CharField(
        required=False, label="Container arguments", widget=text_input("--shm-size=1g", "mono")
    )
    setup_script = forms.CharField(
        required=False,
        strip=False,
        widget=text_area(3, "apt-get install -y libgomp1"),
        help_text="Runs in the container before the command.",
    )
    destination = forms.CharField(
        required=False,
        label="Output destination",
        widget=text_input("s3://bucket/folder", "mono"),
        help_text="A folder, s3://bucket/…, s3://host:port/bucket, gs://… or azure://…. Blank = the default of the "
        "project, workspace or installation.",
    )


class SpaceFields(forms.Form):
    """The search space as JSON. Its rows are read by `space_rows`."""

    space_as = forms.ChoiceField(choices=[("rows", "Rows"), ("json", "JSON")], initial="rows", required=False)
    space_document = forms.CharField(required=False, strip=False, label="Search space")


class ObjectiveFields(forms.Form):
    """The objectives, and where their values come from."""

    metric = forms.CharField(required=False, widget=text_input("default", "mono"))
    direction = forms.ChoiceField(
        choices=[("maximize", "Maximize"), ("minimize", "Minimize")], initial="maximize"
    )
    further_objectives = ArgumentsField(
        required=False,
        widget=text_area(2, "latency_ms=minimize\nsize_mb=minimize"),
        label="Additional objectives",
        help_text=(
            "Up to three more metrics, one metric=minimize or metric=maximize per line. The best trials "
            "are then those on the Pareto front."
        ),
    )
    selection = forms.ChoiceField(
        choices=[("final", "Last value"), ("best", "Best value"), ("average", "Average of all values")],
        label="Reported as",
    )
    goal = forms.FloatField(
        required=False, widget=number_input(), help_text="Reaching this value completes the experiment."
    )
    source = forms.ChoiceField(
        choices=METRIC_SOURCES, label="Metric source", widget=forms.RadioSelect, initial="sdk"
    )
    pattern = forms.CharField(
        required=False,
        label="Regular expression",
        widget=text_input("val_accuracy: {number}", "mono"),
        help_text="{number} reads a number in any notation, including nan and inf. The last line that matches counts.",
    )
    metric_path = forms.CharField(
        required=False,
        label="JSON file",
        widget=text_input("${output_dir}/result.json", "mono"),
        help_text="Relative to the working directory; placeholders as in the command. The metric is a key in the file "
        "or in its last JSON line, or a path such as val.accuracy or folds.0.accuracy.",
    )
    weights = ArgumentsField(
        required=False,
        widget=text_area(2, "val_accuracy=1\nlatency_ms=-0.01"),
        help_text="Combines metrics into one objective: the sum of each metric times its weight.",
    )


class SearchFields(forms.Form):
    """The algorithm, its limits and its starting points."""

    algorithm = forms.ChoiceField(choices=[(name, name) for name in engine.ALGORITHMS], initial="TPE")
    algorithm_arguments = ArgumentsField(
        required=False, widget=text_area(2, "n_startup_trials=20"), label="Algorithm arguments"
    )
    fixed = ArgumentsField(
        required=False,
        widget=text_area(2, "layers=3"),
        label="Fixed values",
        help_text="Parameters held at one value. One name=value per line.",
    )
    constraints = LinesField(
        required=False,
        widget=text_area(2, "batch_size * layers <= 256\ndropout > 0 or layers < 3"),
        help_text="Conditions that every proposal meets, one per line. Put names that contain . - / in `backticks`.",
    )
    starting_points = PointsField(
        required=False,
        widget=text_area(3, '{"lr": 0.01, "layers": 3}\n{"lr": 0.001}'),
        label="Starting points",
        help_text="Run first. One JSON object per line; the algorithm fills in missing parameters.",
    )
    warm_start = forms.CharField(
        required=False,
        label="Warm start",
        widget=text_input("abcd2345", "mono"),
        help_text="ID of an experiment in this workspace, or of uploaded results (file:abcd2345), whose results inform "
        "the search.",
    )
    seed = _integer(help_text="The same seed gives the same proposals.")
    avoid_failing_regions = forms.BooleanField(
        required=False,
        initial=True,
        label="Avoid failing regions",
        widget=DefaultOn,
        help_text="Failed trials count as worse than every result. Otherwise they do not inform the search.",
    )


class BudgetFields(forms.Form):
    """Limits, resources of a trial, and what happens on failures."""

    max_trials = _integer(required=False, initial=50, help_text="Blank = no limit.")
    concurrency = _integer(initial=1, label="Concurrency", help_text="Trials running in parallel.")
    max_duration_s = SpanField(
        required=False,
        label="Max duration",
        help_text="Total run time, excluding pauses. Blank = no limit.",
    )
    max_trial_duration_s = SpanField(
        required=False,
        label="Max trial duration",
        help_text="Trials over this are stopped and marked failed.",
    )
    gpus = _integer(
        required=False,
        label="GPUs per trial",
        help_text="GPUs reserved per trial. Blank = not managed, 0 = hidden.",
    )
    cores = _integer(
        required=False,
        label="Cores per trial",
        help_text="CPU cores reserved per trial. Blank = shared.",
    )
    memory_mib = MemoryField(
        required=False,
        label="Memory per trial",
        widget=forms.TextInput(attrs={"class": "is-num", "placeholder": "4 GiB", "autocomplete": "off"}),
        help_text="Reserved per trial; workers that enforce limits stop trials over it. Blank = no limit.",
    )
    stop_grace_s = SpanField(
        initial="10s",
        label="Stop grace period",
        help_text="Time between SIGTERM and SIGKILL.",
        error_messages={"required": "Enter a duration such as 10s, or 0 for none."},
    )
    retries = _integer(initial=2, label="Retries", help_text="Per trial, after a lost worker.")
    breaker = _integer(
        initial=10,
        label="Auto-pause after N identical failures (0 = never)",
        help_text="Pauses when four in five of the last N trials fail with the same error.",
    )
    start_window = forms.CharField(
        required=False,
        label="Start window",
        widget=text_input("Mon-Fri 20:00-06:00; Sat-Sun"),
        help_text="Days and hours in which trials start; running trials finish. Blank = any time.",
    )
    window_time_zone = forms.CharField(
        required=False,
        initial="UTC",
        label="Time zone",
        widget=text_input("Europe/Berlin"),
        help_text="For the start window.",
    )


class EarlyStoppingFields(forms.Form):
    """The early-stopping rule."""

    early_stopping = forms.ChoiceField(
        choices=[(name, "None" if name == "none" else name) for name in early_stopping_rules.EARLY_STOPPING],
        label="Early stopping rule",
        initial="none",
    )
    early_stopping_arguments = ArgumentsField(
        required=False, widget=text_area(2, "start_step=5"), label="Rule arguments"
    )


SECTIONS: tuple[type[forms.Form], ...] = (
    DescriptionFields,
    CommandFields,
    SourceFields,
    SpaceFields,
    ObjectiveFields,
    SearchFields,
    BudgetFields,
    EarlyStoppingFields,
)
