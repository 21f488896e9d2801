"""What a search space and a command will do, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.messages import DASH, value
from experiments.runner import command as commands
from experiments.runner import configuration
from experiments.search import engine, starting_points
from experiments.search.nested_choice import flat
from experiments.search.space import Space

from .forms import ExperimentForm

DRAWS = 5

# What the words of a command stand for is known only when a trial runs.
WORDS = {
    "trial_id": "abcd2345-1",
    "exp_id": "abcd2345",
    "params": "parameters.json",
    "output_dir": "output",
}


@dataclass(frozen=True)
class Preview:
    """The first values, parameter by parameter, and the command of the first trial.

    A value is a pair: as a table shows it, and whole, as the command gets it.
    """

    parameters: list[tuple[str, list[tuple[str, str]]]]
    is_exact: bool  # these are the first trials; else draws like those an algorithm begins with
    size: int | None
    is_counted: bool  # else it is the most that there may be
    command: str

    @property
    def numbers(self) -> range:
        count = len(self.parameters[0][1])
        return range(1, count + 1)


def preview(form: ExperimentForm) -> Preview | None:
    """What can be shown of a checked form; None without a valid search space."""
    space = form.space
    if space is None:
        return None
    space = _searched(form, space)
    draws, is_exact = _draws(form, space)
    flats = [flat(draw) for draw in draws]
    parameters = [
        (name, [_said(one[name]) if name in one else (DASH, "") for one in flats]) for name in space.columns()
    ]
    command = "" if "command" in form.errors else _rendered(form, draws[0])
    return Preview(parameters, is_exact, space.size, space.is_counted, command)


def first_draw(form: ExperimentForm) -> dict:
    """The values that a try of this valid form runs with: the first of its preview."""
    return _draws(form, _searched(form, form.space))[0][0]


def _searched(form: ExperimentForm, space: Space) -> Space:
    """With the fixed values and the constraints, as soon as they are known to be right."""
    return form.settings.searched if form.settings else space


def _draws(form: ExperimentForm, space: Space) -> tuple[list[dict], bool]:
    """The first values, and whether these are the first trials'."""
    said = form.cleaned_data
    seed, algorithm = said.get("seed") or 0, said.get("algorithm", "")
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
    return [one.shown for one in proposals], is_exact


def _said(one: object) -> tuple[str, str]:
    text = commands.text_of(one)
    return value(one) if isinstance(one, float) else text, text


def _rendered(form: ExperimentForm, draw: dict) -> str:
    said = form.cleaned_data
    groups = form.settings.hyperparameters if form.settings else {}
    append = configuration.arguments(groups, draw) if said.get("passes_arguments") else ()
    try:
        return commands.render(said.get("command", ""), {**draw, **WORDS}, append=append)
    except ValueError:  # `check` has said what is wrong
        return ""
