"""The viewer of output files: one file across the best trials, or the content of one file of one trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from experiments import downloads
from experiments.messages import value
from experiments.models import Artifact, Experiment, FrontTrial, Refused, Trial, TrialState
from experiments.permissions import may
from experiments.query_parameters import choice, invalid, listed, number, text
from experiments.runner.dialects.clearml_reports import SUMMARY
from experiments.web.experiment.page import frame, get_experiment, url_of
from experiments.web.trial.reports import IMAGES, Plot, plot_of, shows_as_image, title_of
from experiments.web.ui.markdown import rendered
from experiments.web.ui.query_checks import note_fault, takes
from experiments.web.ui.requests import SignedInRequest

from .content import MAX_BYTES, Content, content_of
from .json_tree import tree

BEST, LATEST = 5, 20  # trials whose files are listed
MOST_NAMES = 400  # of files in the tree
PAGE = 10  # other trials at a time
PARTS = {"plots": "Plots", "tables": "Tables", "debug_samples": "Debug samples", "models": "Models"}
ICONS = {
    ".json": "braces",
    ".jsonl": "braces",
    ".csv": "table",
    ".tsv": "table",
    ".md": "text",
    ".txt": "text",
    ".log": "text",
    ".out": "text",
    ".err": "text",
    ".yaml": "text",
    ".yml": "text",
    ".toml": "text",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One name in the tree of files."""

    name: str
    label: str
    icon: str
    url: str
    is_current: bool


@dataclass(slots=True)
class Branch:
    """The names below one heading."""

    heading: str
    leaves: list[Leaf] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shot:
    """The file of one trial, shown as an image (`is_image`) or as a link to its content."""

    file: Artifact
    trial: Trial
    is_best: bool
    value: str
    is_image: bool
    url: str


@login_required
@require_safe
@takes(file=text(500), trial=number(1), before=number(1), v=choice("raw"), row=number(1))
def show(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Show the tree of files, and `?file=` of the best five trials and others, or its content of `?trial=`."""
    experiment = get_experiment(request, workspace_slug, public_id)
    best = _best_trials(experiment)
    names = _names(experiment, best)
    file_name = request.GET.get("file", "").replace("\0", "")
    name = file_name or next((each for each in names if _is_image(each)), next(iter(names), ""))
    numbered = request.GET.get("trial", "")
    trial_number = int(numbered) if numbered.isdecimal() and len(numbered) < 16 else None
    base = f"{url_of(experiment, 'artifact-viewer')}"
    if trial_number is not None and not name:
        note_fault(request, "trial", f"No file of trial #{trial_number}.")
    context = frame(request, experiment, tab="experiment-artifacts") | {
        "branches": _tree(names if name in names or not name else [name, *names], name, base),
        "name": name,
        "number": trial_number,
        "every": None,
        "may_register": may(request.user, "register", experiment),
    }
    if trial_number is not None and name:
        context |= _single(request, experiment, name, trial_number, base)
    elif name:
        context |= _across(request, experiment, name, best, base)
        if file_name and not context["best_shots"] and not context["shots"]:
            note_fault(request, "file", invalid("file", file_name, listed(names) or "none"))
    return render(request, "artifact/viewer.html", context)


def _best_trials(experiment: Experiment) -> list[Trial]:
    """Return the trials with the best results, or those on the Pareto front. One query, by an index."""
    if experiment.is_multi_objective:
        on_front = FrontTrial.current(experiment).select_related("trial")
        on_front = on_front.only("trial__number", "trial__value", "trial__state", "trial__experiment")
        return [each.trial for each in on_front[:BEST]]
    order = F("result").desc(nulls_last=True) if experiment.direction == "maximize" else F("result").asc()
    rows = experiment.trials.filter(state=TrialState.SUCCEEDED, result__isnull=False)
    return list(rows.order_by(order, "number").only("number", "value", "state", "experiment")[:BEST])


def _names(experiment: Experiment, best: Sequence[Trial]) -> list[str]:
    """Return the names of the files of the best trials and of the latest ones, sorted. Two queries."""
    latest = experiment.trials.order_by("-number").values_list("pk", flat=True)[:LATEST]
    trials = {trial.pk for trial in best} | set(latest)
    rows = Artifact.objects.kept().filter(trial__in=trials).order_by("name")
    return list(rows.values_list("name", flat=True).distinct()[:MOST_NAMES])


def _tree(names: Iterable[str], current: str, base: str) -> list[Branch]:
    branches: dict[str, Branch] = {}
    for name in names:
        if name == SUMMARY:
            continue
        part = PurePosixPath(name).parts[0]
        heading = PARTS.get(part, "Files") if "/" in name else "Files"
        label = name.removeprefix(f"{part}/") if heading != "Files" else name
        is_image = _is_image(name)
        icon = "image" if is_image else "chart" if part == "plots" else _icon(name)
        url = f"{base}?{urlencode({'file': name})}"
        leaf = Leaf(name, label, icon, url, is_current=name == current)
        branches.setdefault(heading, Branch(heading)).leaves.append(leaf)
    return sorted(branches.values(), key=lambda branch: branch.heading != "Files")


def _icon(name: str) -> str:
    return ICONS.get(PurePosixPath(name).suffix.lower(), "file")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGES)


# --- one file of several trials --------------------------------------------------------------------------------


def _across(
    request: SignedInRequest, experiment: Experiment, name: str, best: Sequence[Trial], base: str
) -> dict[str, object]:
    """Return the file of the best trials, and a page of the others, newest first. Two queries."""
    named_files = Artifact.objects.of(experiment).filter(name=name).select_related("trial", "worker")
    named_files = named_files.defer("trial__params", "trial__raw", "trial__sampler_attrs")
    pks = [trial.pk for trial in best]
    of_best = {file.trial_id: file for file in named_files.filter(trial__in=pks)}
    remaining_files = named_files.exclude(trial__in=pks).order_by("-trial")
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 10:
        remaining_files = remaining_files.filter(trial__number__lt=int(before))
    page = list(remaining_files[: PAGE + 1])
    shots = [_file_of_trial(file, experiment, base, is_best=False) for file in page[:PAGE]]
    query = {"file": name}
    return {
        "best_shots": [
            _file_of_trial(
                of_best[pk],
                experiment,
                base,
                is_best=experiment.is_multi_objective or of_best[pk].trial.number == experiment.best_number,
            )
            for pk in pks
            if pk in of_best
        ],
        "shots": shots,
        "is_first": "before" not in request.GET,
        "first_url": f"{base}?{urlencode(query)}",
        "more_url": f"{base}?{urlencode(query | {'before': shots[-1].trial.number})}"
        if len(page) > PAGE
        else "",
        "is_gallery": _is_image(name),
    }


def _file_of_trial(file: Artifact, experiment: Experiment, base: str, *, is_best: bool) -> Shot:
    trial = file.trial
    return Shot(
        file,
        trial,
        is_best=is_best,
        value=value(trial.value),
        is_image=shows_as_image(file),
        url=f"{base}?{urlencode({'file': file.name, 'trial': trial.number})}",
    )


# --- one file of one trial ---------------------------------------------------------------------------------------


def _single(
    request: SignedInRequest, experiment: Experiment, name: str, trial_number: int, base: str
) -> dict[str, object]:
    """Return the content of the file of one trial. One query, and at most 2 MB of the file."""
    trial_files = Artifact.objects.of(experiment).filter(name=name, trial__number=trial_number)
    file = trial_files.select_related("trial", "worker").first()
    if file is None:
        sentence = f"No file {name} of trial #{trial_number}: it was not written or not kept."
        note_fault(request, "trial", sentence)
        return {"file": None}
    file.experiment = experiment
    is_raw = request.GET.get("v") == "raw"
    query = {"file": name, "trial": trial_number}
    context: dict[str, object] = {
        "file": file,
        "is_raw": is_raw,
        "all_url": f"{base}?{urlencode({'file': name})}",
        "raw_url": f"{base}?{urlencode(query | {'v': 'raw'})}",
        "formatted_url": f"{base}?{urlencode(query)}",
    }
    try:
        data = downloads.head_of(file, max_bytes=MAX_BYTES)
    except Refused as refusal:
        return context | {"refusal": str(refusal), "where": downloads.where_of(file)}
    row = request.GET.get("row", "")
    first_row = int(row) if row.isdecimal() and 0 < len(row) < 10 else 1
    size = max(file.size, len(data))
    content = content_of(name, data, size=size, is_raw=is_raw, first_row=max(first_row, 1))
    return context | {"content": content, **_drawn(file, content, is_raw=is_raw)}


def _drawn(file: Artifact, content: Content, *, is_raw: bool) -> dict[str, object]:
    """Return what is drawn of the content: a plot, a tree, or Markdown."""
    drawn: dict[str, SafeString | Plot | str] = {}
    if content.kind == "json":
        if file.name.startswith("plots/") and (plot := plot_of(file)).chart:
            drawn["plot"] = plot
        else:
            drawn["tree"] = tree(content.value)
    if content.kind == "markdown":
        drawn["prose"] = rendered(content.text)
    has_views = content.kind in ("json", "markdown", "table") or is_raw
    return {**drawn, "has_views": has_views, "title": title_of(file)}
