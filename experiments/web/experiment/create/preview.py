"""Preview of a new experiment: the first samples and the first command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.charts.parameter_scale import parameter_scale
from experiments.messages import DASH, value
from experiments.runner import command as commands
from experiments.runner import configuration
from experiments.runner.arguments import ArgumentStyle
from experiments.search import engine, starting_points
from experiments.search.nested_choice import flat
from experiments.search.space import Space
from experiments.web.experiment.forms import space_rows
from experiments.web.experiment.forms.experiment_form import ExperimentForm

DRAWS = 5

# Sample values for the placeholders that only a trial has.
PLACEHOLDERS = {
    "trial_id": "abcd2345-1",
    "exp_id": "abcd2345",
    "params": "parameters.json",
    "output_dir": "output",
}


@dataclass(frozen=True)
class Preview:
    """The first samples, by parameter, and the command of the first trial.

    A sample is a pair: the value as shown in the table, and in full as in the command.
    """

    parameters: list[tuple[str, list[tuple[str, str]]]]
    is_exact: bool  # whether the first trials will have exactly these samples; otherwise, similar ones
    size: int | None
    is_counted: bool  # otherwise `size` is an upper bound
    command: str

    @property
    def numbers(self) -> range:
        count = len(self.parameters[0][1])
        return range(1, count + 1)


def preview(form: ExperimentForm) -> Preview | None:
    """Return the preview of a validated form; None without a valid search space."""
    if form.space is None:
        return None
    space = _searched(form, form.space)
    draws, is_exact = _draws(form, space)
    samples = [flat(draw) for draw in draws]
    _draw_scales(form, samples)
    parameters = [
        (name, [_cell(sample[name]) if name in sample else (DASH, "") for sample in samples])
        for name in space.columns()
    ]
    command = "" if "command" in form.errors else _rendered(form, draws[0])
    return Preview(parameters, is_exact, space.size, space.is_counted, command)


def first_draw(form: ExperimentForm) -> dict[str, Any]:
    """Return the values of a test run of this valid form: the first sample of its preview."""
    return _draws(form, form.valid_settings.searched)[0][0]


def _draw_scales(form: ExperimentForm, samples: list[dict[str, Any]]) -> None:
    """Draw the samples of each row on its scale."""
    for row in form.rows:
        name = row.name.strip()
        if not row.is_searched or row.errors or row.is_blank:
            continue
        own = [sample[name] for sample in samples if name in sample]
        defaults = space_rows.items(row.default)
        default = defaults[0] if defaults and isinstance(defaults[0], int | float) else None
        row.scale = parameter_scale(row.type, row.parameter["_value"], own, default)


def _searched(form: ExperimentForm, space: Space) -> Space:
    """Return the space with fixed values and constraints applied, once they are valid."""
    return form.settings.searched if form.settings else space


def _draws(form: ExperimentForm, space: Space) -> tuple[list[dict[str, Any]], bool]:
    """Return the first samples, and whether they are exactly those of the first trials."""
    cleaned = form.cleaned_data
    seed, algorithm = cleaned.get("seed") or 0, cleaned.get("algorithm", "")
    is_known = algorithm in engine.ALGORITHMS and not form.errors.keys() & {
        "algorithm",
        "algorithm_arguments",
    }
    first = form.settings.starting_points if form.settings else []
    is_exact = is_known and engine.ALGORITHMS[algorithm].is_light
    if not is_exact and not first:
        return space.draws(DRAWS, seed=seed), False
    problem = engine.Problem(space, algorithm if is_exact else "Random", {}, seed, "maximize")
    proposals = starting_points.propose(problem, [], range(1, DRAWS + 1), points=first)
    return [proposal.shown for proposal in proposals], is_exact


def _cell(sample: object) -> tuple[str, str]:
    text = commands.text_of(sample)
    return value(sample) if isinstance(sample, float) else text, text


def _rendered(form: ExperimentForm, draw: dict[str, Any]) -> str:

    cleaned = form.cleaned_data
    groups = form.settings.hyperparameters if form.settings else {}
    draw = form.settings.received(draw) if form.settings else draw
    style = ArgumentStyle(
        *(str(cleaned.get(name) or "") for name in ("argument_style", "boolean_style", "list_style"))
    )
    append = configuration.arguments(groups, draw, style) if cleaned.get("passes_arguments") else ()
    try:
        return commands.render(cleaned.get("command", ""), {**draw, **PLACEHOLDERS}, append=append)
    except ValueError:  # the form reports the error of the command
        return ""
