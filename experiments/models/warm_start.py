"""Warm start: results of another experiment or of a file inform the search from the first proposal on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from experiments.search.imported_results import adapt_params, parameter_names
from experiments.search.space import Space

from . import status
from .account.user import User
from .settings import Invalid, Settings

if TYPE_CHECKING:
    from experiments.models.experiment.base import ExperimentBase

FILE = "file:"
MOST_RESULTS = 10_000


def warmed(experiment: ExperimentBase, settings: Settings, *, by: User, before: Settings | None) -> Settings:
    """Return the settings with a fixed warm start: `abcd2345` becomes `abcd2345@120`, the results of the first 120
    finished trials, so that they never change. Uploaded results stay `file:abcd2345`.

    An unchanged warm start (as in `before`) is accepted. Raise `Invalid` for an experiment that this user cannot see
    in the workspace, and when no result fits.
    """
    warm_start = settings.warm_start
    if not warm_start or (before and before.warm_start == warm_start):
        return settings
    if warm_start.startswith(FILE):
        _require_telling(experiment, settings)
        return settings
    public_id, _, first = warm_start.partition("@")
    visible = type(experiment).objects.visible_to(by).filter(workspace=experiment.workspace)
    source = visible.filter(public_id=public_id).first()
    if source is None:
        raise _invalid(f"No experiment {public_id} that you can view exists in this workspace.")
    if source.pk == experiment.pk:
        raise _invalid("An experiment already uses its own results.")
    if source.direction != settings.direction:
        raise _invalid(
            f"{source.name} has the direction {source.direction}, the opposite of this experiment."
        )
    reference = f"{public_id}@{min(int(first or source.settled_count), source.settled_count)}"
    imported = results(experiment, reference, settings.space)
    if not imported:
        raise _invalid(f"{source.name} has no results yet.")
    if not any(settings.searched.to_raw(params) is not None for params, _ in imported):
        raise _invalid(f"No result of {source.name} fits this search space ({len(imported):,} checked).")
    return dataclasses.replace(settings, warm_start=reference)


def _require_telling(experiment: ExperimentBase, settings: Settings) -> None:
    """Raise `Invalid` when the workspace has no such uploaded results, or none of them fits."""
    warm_start, space = settings.warm_start, settings.searched
    file = experiment.workspace.warm_results.filter(public_id=warm_start.removeprefix(FILE)).first()
    if file is None:
        raise _invalid(f"There are no uploaded results {warm_start} in this workspace.")
    if any(space.to_raw(params) is not None for params, _ in results(experiment, warm_start, space)):
        return
    uploaded_names, space_names = parameter_names(file.rows), space.columns()
    why = ""
    if lacking := [name for name in space_names if name not in uploaded_names]:
        why = f" The file does not have {_listed(lacking)}."
    elif unknown := [name for name in uploaded_names if name not in space_names]:
        why = f" The search space does not have {_listed(unknown)}."
    raise _invalid(f"No result of {file.name} fits this search space ({file.count:,} checked).{why}")


def _listed(names: list[str]) -> str:
    return ", ".join(name[:60] for name in names[:5]) + (", …" if len(names) > 5 else "")


def results(experiment: ExperimentBase, reference: str, space: Space) -> list[tuple[dict, float]]:
    """Return (parameters, value) of the trials that `reference` refers to, such as `abcd2345@120`, in the order in
    which they ended, at most the latest 10,000. Trials that were reset or are in the trash count; deleted ones do not.

    For `file:abcd2345` return the uploaded results in the file's order, with values adapted to this space."""
    if reference.startswith(FILE):
        uploaded = experiment.workspace.warm_results.model.objects  # a clone may be in another workspace
        file = uploaded.filter(public_id=reference.removeprefix(FILE)).first()
        return [(adapt_params(space, params), value) for params, value in file.rows] if file else []
    public_id, _, first = reference.partition("@")
    ended = experiment.trials.model.everything.filter(
        experiment__public_id=public_id, settled_rank__lte=int(first)
    )
    trials = ended.filter(state__in=status.TRIAL_INFORMS, value__isnull=False)
    rows = trials.order_by("-settled_rank").values_list("params", "value")[:MOST_RESULTS]
    return [(params, value) for params, value in rows if value is not None][::-1]


def _invalid(sentence: str) -> Invalid:
    return Invalid({"warm_start": [sentence]})
