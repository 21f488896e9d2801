"""Advice on Overview: changes suggested by the results so far, and the settings that Update then proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.db.models import F, TextField
from django.db.models.functions import Cast
from django.urls import reverse

from experiments.models import Experiment, Importance, Settings, Trial, TrialState, status
from experiments.models.plain_sql import Answer, RowStatement, Statement
from experiments.models.trial.parameter import TrialParameter, number_of
from experiments.permissions import may
from experiments.query_parameters import quoted
from experiments.search import advice
from experiments.search.advice import Advice
from experiments.search.json_documents import parse_all
from experiments.web.trial.failures import region_of
from experiments.web.ui.requests import SignedInRequest

from .change_links import OVER, change_url

FEWEST = 20  # finished trials before there is any advice
MOST_BEST = 20
LOOKED_AT = 500  # latest proposals
MOST_SHOWN = 4
MOST_CHOICES = 60
CLONE = "Clone with the change"


@dataclass(frozen=True)
class AdviceRow:
    """A piece of advice, and the URL of its action; empty if this reader may not perform it."""

    text: str
    action: str
    url: str


def rows(request: SignedInRequest, experiment: Experiment, pieces: Sequence[Advice]) -> list[AdviceRow]:
    """Return the advice for Overview, with the actions that this reader may take."""
    changes_at = change_url(request, experiment)
    adds = may(request.user, "add_trial", experiment) and status.is_offered("add_trial", experiment.state)
    where = [experiment.workspace.slug, experiment.public_id]
    add_url = reverse("experiment-add", args=where)
    shown = []
    for piece in pieces[:MOST_SHOWN]:
        if piece.change:
            url = changes_at + quote(piece.key) if changes_at else ""
        else:
            url = add_url if piece.action and adds else ""
        shown.append(
            AdviceRow(piece.text, CLONE if experiment.state in OVER and piece.change else piece.action, url)
        )
    return shown


def advice_on(experiment: Experiment) -> list[Advice]:
    """Return the changes that an experiment's results suggest, the most useful first. At most five queries, of a
    bounded number of rows."""
    finished = experiment.succeeded_count + experiment.early_stopped_count
    if finished < FEWEST:
        return []
    settings = experiment.settings
    space: Mapping[str, Any] = {
        name: declaration
        for name, declaration in settings.space_document.items()
        if name not in settings.fixed
    }
    best = _best(experiment)
    pieces = advice.at_the_edge(space, best)
    pieces = [_complete(piece, settings) for piece in pieces]
    pieces += advice.never_tried(space, _tried(experiment, space), finished)
    if best:
        pieces += advice.without_influence(
            settings.space_document, _shares(experiment), best[0], settings.fixed
        )
    if settings.algorithm == "GridSearch":
        pieces += advice.grid_left(settings.searched.size, experiment.proposed_count, settings.max_trials)
    else:
        pieces += advice.repeated(_digests(experiment))
    return pieces


def advised_settings(experiment: Experiment, key: str) -> Settings | None:
    """Return the settings that follow a piece of advice; None if it no longer applies."""
    kind, _, argument = key.partition(":")
    change: Mapping[str, Any] | None = None
    if kind == "exclude":
        region = region_of(experiment, argument)
        change = advice.exclude(experiment.settings.space_document, region) if region else None
    else:
        change = next((piece.change for piece in advice_on(experiment) if piece.key == key), None)
    return Settings.stored({**experiment.settings.document(), **change}) if change else None


def no_advice(key: str) -> str:
    """Return the sentence about advice in the URL that does not apply."""
    return f"The advice {quoted(key)} does not apply, or no longer: the form has the current settings."


def _complete(piece: Advice, settings: Settings) -> Advice:
    """Return the advice with the whole search space, including parameters that are held at a value."""
    space = {**settings.space_document, **piece.change["space_document"]}
    return Advice(piece.key, piece.text, piece.action, {"space_document": space})


def _best(experiment: Experiment) -> list[dict[str, Any]]:
    """Return the parameters of the best trials; none with several objectives, whose optima may lie far apart."""
    if experiment.is_multi_objective:
        return []
    count = min(MOST_BEST, max(advice.FEWEST, experiment.succeeded_count // 20))
    if experiment.succeeded_count < count:
        return []
    rows = _best_params[experiment.direction].rows(experiment=experiment.pk)
    return parse_all(text for (text,) in rows[:count])


_best_params = {
    direction: Statement(
        lambda experiment, order=order: (
            Trial.objects.filter(experiment=experiment, state=TrialState.SUCCEEDED, result__isnull=False)
            .order_by(order, "number")
            .values_list(Cast("params", TextField()))[:MOST_BEST]
        ),
        experiment=-1_000_000_007,
    )
    for direction, order in (("minimize", F("result").asc()), ("maximize", F("result").desc()))
}


def _tried(experiment: Experiment, space: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the choices that some trial has had, by parameter. One index lookup per choice."""
    choices = [
        (name, advice.text_of_choice(value), number_of(value))
        for name, declaration in space.items()
        if declaration.get("_type") == "choice"
        for value in declaration["_value"]
    ][:MOST_CHOICES]
    tried: dict[str, set[str]] = {}
    if not choices:
        return tried
    had = Answer(*_looks(experiment.pk, choices)).rows()[0]
    for (name, text, _), is_tried in zip(choices, had, strict=True):
        if is_tried:
            tried.setdefault(name, set()).add(text)
    return tried


def _looks(experiment: int, choices: Sequence[tuple[str, str, float | None]]) -> tuple[str, list[Any]]:
    """Return a statement with one lookup in the index for each choice, and its values. As plain SQL: building it with
    the ORM took longer than the rest of the advice."""
    looks, values = [], []
    for name, text, number in choices:
        # The column before `text` in the index.
        of_number, numbers = ("number IS NULL", []) if number is None else ("number = %s", [number])
        looks.append(
            f"EXISTS(SELECT 1 FROM {TrialParameter._meta.db_table} "  # noqa: S608
            f"WHERE experiment_id = %s AND name = %s AND {of_number} AND text = %s)"
        )
        values += [experiment, name, *numbers, text]
    return f"SELECT {', '.join(looks)}", values


def _shares(experiment: Experiment) -> dict[str, float]:
    """Return the importance of parameters, if it was computed since the last reset."""
    computed = _importance.object(experiment=experiment.pk)
    return computed.shares if computed and computed.epoch == experiment.epoch else {}


def _digests(experiment: Experiment) -> list[str]:
    return [digest for (digest,) in _latest_digests.rows(experiment=experiment.pk)]


_importance = RowStatement(
    Importance,
    lambda experiment: Importance.objects.filter(experiment=experiment).order_by(),
    names=("id", "experiment_id", "epoch", "shares"),
    experiment=-1_000_000_007,
)
_latest_digests = Statement(
    lambda experiment: (
        Trial.objects.filter(experiment=experiment, source="proposal")
        .order_by("-number")
        .values_list("values_digest")[:LOOKED_AT]
    ),
    experiment=-1_000_000_007,
)
