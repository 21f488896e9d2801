"""The steps of the page that creates an experiment: their fields, whether they are complete, and their errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .experiment_form import ExperimentForm

STEPS = {"run": "What to run", "counts": "What counts", "search": "What to search", "much": "How much"}
_STEP_OF = {
    **dict.fromkeys(
        ("metric", "direction", "further_objectives", "selection", "goal", "source", "pattern"), "counts"
    ),
    **dict.fromkeys(("metric_path", "weights"), "counts"),
    **dict.fromkeys(("space_document", "algorithm", "algorithm_arguments", "fixed", "constraints"), "search"),
    **dict.fromkeys(("starting_points", "warm_start", "seed", "avoid_failing_regions"), "search"),
    **dict.fromkeys(
        ("max_trials", "concurrency", "max_duration_s", "max_trial_duration_s", "gpus", "cores"), "much"
    ),
    **dict.fromkeys(("memory_mib", "stop_grace_s", "retries", "breaker", "early_stopping"), "much"),
    **dict.fromkeys(("early_stopping_arguments", "start_window", "window_time_zone"), "much"),
}
_DESCRIBED = (
    "name",
    "project",
    "new_project",
    "project_text",
    "creates_project",
    "tags",
    "visibility",
    "description",
)


@dataclass(frozen=True)
class Step:
    """A step: `state` is "succeeded" (complete), "failed" (something is invalid), or "" (not complete yet)."""

    anchor: str
    title: str
    state: str


@dataclass(frozen=True)
class Problem:
    """Something that prevents the form from being saved: its anchor on the page, its place, and a message."""

    anchor: str
    place: str
    text: str


def steps_of(form: ExperimentForm) -> list[Step]:
    """Return the steps with their states; without states on an unposted page."""
    if not (form.is_bound and form.is_validated):
        return [Step(anchor, title, "") for anchor, title in STEPS.items()]
    missing = {field.name for field in form.missing_fields}
    states = dict.fromkeys(STEPS, "succeeded")
    for name in form.errors:
        anchor = _step_of(name)
        if anchor in states and states[anchor] != "failed":
            states[anchor] = "" if name in missing else "failed"
    return [Step(anchor, title, states[anchor]) for anchor, title in STEPS.items()]


def problems_of(form: ExperimentForm) -> list[Problem]:
    """Return what is invalid in the form, in the order of the page. Empty required fields are not problems yet."""
    result = []
    missing = {field.name for field in form.missing_fields}
    for name, sentences in form.errors.items():
        if name in missing:
            continue
        step = STEPS.get(_step_of(name), "")
        label = str(form[name].label) if name in form.fields else ""
        place = " · ".join(part for part in (step, label) if part) or "Experiment"
        anchor = f"id_{name}" if name in form.fields else "create"
        result += [Problem(anchor, place, str(sentence)) for sentence in sentences]
    order = {title: number for number, title in enumerate(["", *STEPS.values()])}
    return sorted(result, key=lambda problem: order.get(problem.place.partition(" · ")[0], 0))


def _step_of(name: str) -> str:
    return "" if name in _DESCRIBED or name == "__all__" else _STEP_OF.get(name, "run")
