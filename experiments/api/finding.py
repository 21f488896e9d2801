"""The experiment of an address, as far as it exists for whoever asks."""

from __future__ import annotations

from django.http import Http404, HttpRequest

from experiments.models import Experiment, Refused


def find(request: HttpRequest, public_id: str) -> Experiment:
    """Else 404. Raises `Refused` where AutoML is off (PAI-P1)."""
    visible = Experiment.objects.visible_to(request.user).filter(public_id=public_id)
    experiment = visible.select_related("workspace", "project", "queue", "creator").first()
    if experiment is None:
        raise Http404
    if not experiment.workspace.has_automl:
        room = experiment.workspace
        raise Refused(f"AutoML is switched off in the workspace {room}. An owner can switch it on.")
    return experiment
