"""Execution tab: source, packages, container and output, block by block, with resolved names; edited in drafts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from experiments.models import Experiment, Settings, Worker, status
from experiments.models.settings.execution import LITERAL, PACKAGES_FROM
from experiments.models.settings.shown import masked_resolved, shown
from experiments.permissions import may
from experiments.query_parameters import choice, text
from experiments.web.ui import highlight
from experiments.web.ui.form_fields import field_of
from experiments.web.ui.key_value_rows import unless_unchanged
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.ui.setting_labels import label_of

from .edit.setting_blocks import BlockForm, change
from .edit.settings_diff import text_of
from .forms.experiment_form import ExperimentForm, settings_values
from .forms.sections import REFERENCE_KINDS
from .page import frame, get_experiment, url_of


def _line(label: str, placeholder: str = "", help_text: str = "") -> forms.CharField:
    attrs = {"class": "mono", "placeholder": placeholder, "autocomplete": "off", "spellcheck": "false"}
    return forms.CharField(
        required=False, label=label, help_text=help_text, widget=forms.TextInput(attrs=attrs)
    )


def _text(label: str, rows: int, placeholder: str = "", help_text: str = "") -> forms.CharField:
    attrs = {"rows": rows, "placeholder": placeholder, "spellcheck": "false"}
    widget = forms.Textarea(attrs=attrs)
    return forms.CharField(required=False, strip=False, label=label, help_text=help_text, widget=widget)


class SourceForm(BlockForm):
    """Repository, commit, script, working directory and binary."""

    heading = "Source code"
    reads = ("repository", "reference_kind", "reference", "script", "directory", "binary")

    repository = _line(
        "Repository", "https://example.org/team/code.git", "Cloned by the worker with its own credentials."
    )
    reference_kind = forms.ChoiceField(choices=REFERENCE_KINDS, widget=forms.RadioSelect, label="Version")
    reference = _line("Branch, tag or commit", "main", "Blank = the default branch.")
    script = _line("Script", "train.py", "Relative to the working directory, or -m and a module.")
    directory = _line(
        "Working directory",
        "",
        "Path inside the repository, or the full path on the worker's machine without one.",
    )
    binary = _line("Binary", "python3.12", "Runs the script. Blank = python.")
    runs_script = forms.BooleanField(required=False, label="Run the script instead of the command")

    def prepare(self) -> None:
        if not self.current.command:
            del self.fields["runs_script"]
            return
        first = self.current.command.strip().splitlines()[0][:60]
        self.fields["runs_script"].help_text = f"Otherwise trials run the command: {first}"

    def changed(self) -> dict[str, object]:
        without = {"command": ""} if self.cleaned_data.get("runs_script") else {}
        return {**super().changed(), **without}


class ClearSource(BlockForm):
    heading = "Clear the source code?"
    button = "Clear source code"
    reads = SourceForm.reads
    is_danger = True

    @property
    def sentences(self) -> list[str]:
        kept_settings = (
            "The command is kept."
            if self.current.command
            else "Without a command, trials have nothing to run."
        )
        return ["Clears repository, version, script, working directory and binary.", kept_settings]

    def changed(self) -> dict[str, object]:
        return {**dict.fromkeys(self.reads, ""), "reference_kind": "branch"}


class PackagesForm(BlockForm):
    """Packages; the meanings of an empty list are distinct."""

    heading = "Python packages"
    reads = ("packages_from", "packages")

    packages_from = forms.ChoiceField(
        choices=list(PACKAGES_FROM.items()), widget=forms.RadioSelect, label="Install"
    )
    packages = _text(
        "Packages",
        12,
        "numpy==2.3.4\ntorch>=2.9",
        "One requirement per line, as in requirements.txt. Used only with a package list.",
    )

    def changed(self) -> dict[str, object]:
        chosen = self.cleaned_data["packages_from"]
        return {
            "packages_from": chosen,
            "packages": self.cleaned_data["packages"] if chosen == "list" else "",
        }


class ClearPackages(BlockForm):
    heading = "Clear the package list?"
    button = "Clear packages"
    reads = ("packages_from", "packages")
    is_danger = True

    packages_from = forms.ChoiceField(widget=forms.RadioSelect, label="Workers then")

    def filled(self) -> dict[str, object]:
        return {"packages_from": "none"}

    def prepare(self) -> None:
        choices = [("none", "install no packages"), ("worker", "use the packages of their machine")]
        if self.current.repository:
            choices.insert(1, ("repository", "install the repository's requirements.txt"))
        field_of(self, "packages_from", forms.ChoiceField).choices = choices

    def changed(self) -> dict[str, object]:
        return {"packages_from": self.cleaned_data["packages_from"], "packages": ""}


class ResetPackages(BlockForm):
    """Reset the packages to those specified before a run resolved them."""

    heading = "Reset to the original packages?"
    button = "Reset to original"
    reads = ("packages_from", "packages", "original_packages")

    @property
    def sentences(self) -> list[str]:
        if self.current.original_packages is None:
            return ["No original packages: packages were never resolved. Nothing changes."]
        lines = self.current.original_packages.splitlines()
        if not lines:
            return ["Trials install the repository's requirements.txt again."]
        return [f"Restores the list from before packages were resolved: {', '.join(lines[:8])}."]

    def changed(self) -> dict[str, object]:
        original = self.current.original_packages
        if original is None:
            return {}
        chosen = "list" if original else "repository"
        return {"packages_from": chosen, "packages": original, "original_packages": None}


class ChangesForm(BlockForm):
    """Uncommitted changes, as a diff."""

    heading = "Uncommitted changes"
    reads = ("diff",)
    is_full = True

    diff = _text("Diff", 24, "", "")

    def prepare(self) -> None:
        self.fields["diff"].help_text = (
            "Output of git diff. Trials fail in setup if the diff does not apply."
            if self.current.repository
            else f"Without a repository this is a complete script, run as {LITERAL}."
        )

    def changed(self) -> dict[str, object]:
        return {"diff": unless_unchanged(self.cleaned_data["diff"], stored=self.current.diff)}


class DiscardChanges(BlockForm):
    heading = "Discard the uncommitted changes?"
    button = "Discard changes"
    reads = ("diff",)
    is_danger = True

    @property
    def sentences(self) -> list[str]:
        lines = len(self.current.diff.splitlines())
        return [f"Removes {lines:,} lines. Earlier revisions keep them and can be restored."]

    def changed(self) -> dict[str, object]:
        return {"diff": ""}


class ContainerForm(BlockForm):
    """Container image, arguments and setup script."""

    heading = "Container"
    reads = ("image", "image_arguments", "setup_script")

    image = _line("Image", "registry.example.org/torch:2.9", "Used by workers in container mode.")
    image_arguments = _line(
        "Arguments", "--ipc=host --shm-size=16g", "Arguments of docker run or podman run."
    )
    setup_script = _text(
        "Setup script", 5, "apt-get install -y libturbojpeg0", "Runs in the container before the trial."
    )


class ClearContainer(BlockForm):
    heading = "Clear the container?"
    button = "Clear container"
    reads = ContainerForm.reads
    is_danger = True
    sentences = [
        "Clears image, arguments and setup script. Workers in container mode use their default image."
    ]

    def changed(self) -> dict[str, object]:
        return dict.fromkeys(self.reads, "")


class ResourcesForm(BlockForm):
    """GPUs, cores and memory of each trial."""

    heading = "Resources per trial (exclusive)"
    reads = ("gpus", "cores", "memory_mib")

    gpus, cores, memory_mib = (ExperimentForm.base_fields[name] for name in reads)

    def filled(self) -> dict[str, object]:
        return {name: settings_values(self.current)[name] for name in self.reads}


class OutputForm(BlockForm):
    """Output destination of the artifacts."""

    heading = "Output"
    reads = ("destination", "keeps_best")

    destination = _line(
        "Destination",
        "s3://bucket/folder",
        "/mnt/share/folder, s3://bucket/folder, gs://bucket/folder, azure://account.blob.core.windows.net/container/"
        "folder. S3-compatible services such as MinIO need the port: s3://host:9000/bucket. Blank = the default of the "
        "project, workspace or installation.",
    )
    keeps_best = forms.IntegerField(
        required=False,
        min_value=1,
        label="Keep artifacts of the best",
        widget=forms.TextInput(attrs={"class": "is-num", "inputmode": "numeric", "autocomplete": "off"}),
        help_text="Number of trials; artifacts of the others are removed. Blank = keep all.",
    )


class ClearOutput(BlockForm):
    heading = "Clear the output destination?"
    button = "Clear destination"
    reads = ("destination",)
    is_danger = True
    sentences = ["Artifacts then go to the default of the project, workspace or installation."]

    def changed(self) -> dict[str, object]:
        return {"destination": ""}


BLOCKS: dict[str, type[BlockForm]] = {
    "source": SourceForm,
    "source/clear": ClearSource,
    "packages": PackagesForm,
    "packages/clear": ClearPackages,
    "packages/reset": ResetPackages,
    "changes": ChangesForm,
    "changes/discard": DiscardChanges,
    "container": ContainerForm,
    "container/clear": ClearContainer,
    "resources": ResourcesForm,
    "output": OutputForm,
    "output/clear": ClearOutput,
}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(
    request: SignedInRequest, workspace_slug: str, public_id: str, block: str, action: str = ""
) -> HttpResponse:
    """Edit, clear, discard or reset one block of a draft."""
    kind = BLOCKS.get(f"{block}/{action}" if action else block)
    if kind is None:
        raise Http404
    experiment = get_experiment(request, workspace_slug, public_id)
    return change(request, experiment, kind, back=f"{url_of(experiment, 'experiment-execution')}#{block}")


@login_required
@require_safe
@takes(q=text(), whole=choice("1"))
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the current value of every block, in every state."""
    experiment = get_experiment(request, workspace_slug, public_id)
    settings = shown(experiment.settings)
    resolved = masked_resolved(experiment.revision.resolved, experiment.settings)
    query, is_whole = request.GET.get("q", ""), "whole" in request.GET
    context = frame(request, experiment, tab="experiment-execution")
    context |= {
        "settings": settings,
        "may_edit": may(request.user, "edit", experiment) and status.is_offered("edit", experiment.state),
        "may_update": may(request.user, "update", experiment)
        and status.is_offered("update", experiment.state),
        "url": url_of(experiment, "experiment-execution"),
        "source": _source(settings, resolved),
        "packages_are": PACKAGES_FROM[settings.packages_from],
        "resolved_packages": resolved.get("packages"),
        "original": _original(settings),
        "diff": highlight.read(
            settings.diff, query=query, is_diff=bool(settings.repository), is_whole=is_whole
        ),
        "counts": highlight.counts(settings.diff) if settings.diff and settings.repository else None,
        "resources": [
            (label_of(name), text_of(name, getattr(settings, name))) for name in ResourcesForm.reads
        ],
        "serving": _serving(experiment),
        "destinations": _destinations(experiment, settings),
        "destination": resolved.get("destination"),
        "every": None,
    }
    return render(request, "execution/show.html", context)


def _source(settings: Settings, resolved: dict[str, Any]) -> dict[str, object]:
    """Return version, commit and command of the source code."""
    name = settings.reference
    version = {
        "branch": f"last commit in {name}" if name else "last commit in the default branch",
        "tag": f"tag {name}",
        "commit": f"commit {name}",
    }[settings.reference_kind]
    return {
        "version": version if settings.repository else "",
        "commit": resolved.get("commit", ""),
        "runs": settings.run_command,
        "is_command": bool(settings.command),
    }


def _original(settings: Settings) -> str | None:
    if settings.original_packages is None:
        return None
    return settings.original_packages or "The repository's requirements.txt"


def _serving(experiment: Experiment) -> list[tuple[str, str]]:
    """Return (name, container mode) of the workers of the experiment's queue."""
    if experiment.queue is None:
        return []
    rows = Worker.objects.serving().values_list("name", "container", "queues")
    return [(name, container) for name, container, queues in rows if experiment.queue.name in queues]


def _destinations(experiment: Experiment, settings: Settings) -> list[tuple[str, str, bool]]:
    """Return (owner, destination, whether it is in effect); the most specific one is."""
    project = experiment.project
    levels = [
        ("This experiment", settings.destination),
        (f"Project {project.name}", project.destination),
        (f"Workspace {experiment.workspace.name}", experiment.workspace.destination),
    ]
    nearest = next((whose for whose, where in levels if where), None)
    return [(whose, where, whose == nearest) for whose, where in levels]
