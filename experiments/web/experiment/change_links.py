"""Links to a proposed change of an experiment: Update while it is active, Create (as a clone) after its end."""

from __future__ import annotations

from django.urls import reverse

from experiments.models import Experiment, ExperimentState, status
from experiments.permissions import may
from experiments.web.ui.requests import SignedInRequest

OVER = (*status.ENDED, ExperimentState.PUBLISHED)


def change_url(request: SignedInRequest, experiment: Experiment) -> str:
    """Return the URL of a proposed change, without the key of the advice at its end; empty if this reader may neither
    update nor clone."""
    workspace = experiment.workspace
    if status.is_offered("update", experiment.state):
        edit_url = reverse("experiment-edit", args=[workspace.slug, experiment.public_id])
        return f"{edit_url}?advice=" if may(request.user, "update", experiment) else ""
    if experiment.state in OVER and may(request.user, "create", workspace):
        return f"{reverse('experiment-new', args=[workspace.slug])}?from={experiment.public_id}&advice="
    return ""
