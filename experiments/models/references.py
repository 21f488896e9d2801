"""References from settings to other rows: the input model, and the uploaded results of a warm start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import TextField
from django.db.models.functions import Cast

from .account.user import User
from .settings import Invalid, Settings
from .status import ExperimentState, Refused
from .workspace.workspace import Workspace

if TYPE_CHECKING:
    from experiments.models.experiment.model import Experiment
    from experiments.models.experiment.queryset import ExperimentQuerySet

MOST_NAMED = 3  # in one sentence


def require_model(workspace: Workspace, settings: Settings, *, before: Settings | None) -> None:
    """Raise `Invalid` when the input model is not in this workspace. An unchanged one (as in `before`) is accepted, so
    that a deleted model does not prevent other changes."""
    public_id = settings.input_model
    if not public_id or (before and before.input_model == public_id):
        return
    if not workspace.models.filter(public_id=public_id).exists():
        raise Invalid(
            {"input_model": [f"No model {public_id!r} that you can view exists in this workspace."]}
        )


def missing_references(experiment: Experiment) -> list[str]:
    """Return a sentence, with the consequences, for each referenced row that no longer exists."""
    workspace, settings = experiment.workspace, experiment.settings
    model, results = settings.input_model, settings.warm_start
    sentences = []
    if model and not workspace.models.filter(public_id=model).exists():
        sentences.append(
            f"The model {model} no longer exists in this workspace: every trial would fail in setup."
        )
    uploaded = results.removeprefix("file:")
    if uploaded != results and not workspace.warm_results.filter(public_id=uploaded).exists():
        sentences.append(f"The results {results} were deleted: the search would start without them.")
    return sentences


def naming(
    rows: ExperimentQuerySet, setting: str, value: str, *, at_most: int | None = None
) -> list[Experiment]:
    """Return those of these experiments whose setting `setting` is `value`, newest first."""
    rows = rows.annotate(text=Cast("revision__document", TextField())).select_related("revision")
    candidates = rows.filter(text__contains=f'"{setting}": "{value}"').order_by("-created_at")[:at_most]
    # The text may also occur elsewhere in the document.
    return [experiment for experiment in candidates if getattr(experiment.settings, setting) == value]


def drafts_only(
    workspace: Workspace, setting: str, value: str, *, by: User, subject: str
) -> list[Experiment]:
    """Return the drafts that refer to a row which is to be deleted. Raise `Refused` when other experiments do:
    `subject` begins the sentence ("Good weights is the input model of"). Experiments in the trash do not count."""
    users = naming(workspace.experiments.all(), setting, value)
    ran = [experiment for experiment in users if experiment.state != ExperimentState.DRAFT]
    if ran:
        keys = (
            workspace.experiments.visible_to(by)
            .filter(pk__in=[experiment.pk for experiment in ran])
            .values_list("pk", flat=True)
        )
        seen = set(keys)
        names = _listed([str(experiment) for experiment in ran if experiment.pk in seen], len(ran))
        raise Refused(
            f"{subject} {names}. Delete those experiments first: they cannot be resumed or rerun without it."
        )
    return users


def _listed(names: list[str], total: int) -> str:
    """Return `a (k2m9p3qr), b (w7x8y9za) and 3 more`. Experiments that the user cannot see are only counted."""
    shown = names[:MOST_NAMED]
    unlisted_count = total - len(shown)
    if not shown:
        return f"{total:,} {'experiment' if total == 1 else 'experiments'} that you cannot see"
    if not unlisted_count:
        return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
    return f"{', '.join(shown)} and {unlisted_count:,} more"
